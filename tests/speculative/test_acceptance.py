"""How many draft tokens are accepted is what the theory says: exactly, summed over every path.

Measured with real random numbers: `properties.measured_rounds_are_as_the_theory_says`.
"""

import numpy as np
import pytest
from bigrams import bigram_model
from every_path import distribution

from minillm import Sampling
from minillm.estimate.speculation import acceptance_rate, tokens_per_round
from minillm.sampling import probabilities
from minillm.speculative.generation import SpeculativeGeneration
from minillm.speculative.rounds import accept_or_correct

SAMPLING = Sampling(temperature=0.9, ignore_eos=True, seed=4)
P_LOGITS, Q_LOGITS = np.array([0.3, 1.2]), np.array([0.9, 0.6])
MODEL, DRAFT = (bigram_model(np.tile(row, (2, 1)), max_position_embeddings=50_000) for row in (P_LOGITS, Q_LOGITS))
P, Q = probabilities(P_LOGITS, SAMPLING), probabilities(Q_LOGITS, SAMPLING)
ACCEPTANCE = acceptance_rate(P, Q)  # p and q are the same at every place


@pytest.mark.parametrize("k", [1, 2, 3])
def test_every_path_of_one_round(k):
    """P(n draft tokens accepted) = a**n (1 - a) for n < k, and a**k: so the mean is the formula's."""

    def outcome(path):
        generation = SpeculativeGeneration(MODEL, DRAFT, [0], 2 + k, SAMPLING, k)
        generation.completion.append(0, P_LOGITS)  # the first token, as if the prompt's pass had given it
        generation.completion.generator = path
        generation._next_steps()
        return generation.speculation.counts.accepted

    found = distribution(outcome)
    expected = [ACCEPTANCE**n * (1 - ACCEPTANCE) for n in range(k)] + [ACCEPTANCE**k]
    assert [found[n] for n in range(k + 1)] == pytest.approx(expected, abs=1e-12)
    mean = 1 + sum(n * probability for n, probability in found.items())
    assert mean == pytest.approx(tokens_per_round(ACCEPTANCE, k), abs=1e-12)


class Zeros(np.random.Generator):
    """A generator that gives the least of its numbers, which is drawn once in 2**53 times."""

    def random(self):
        return 0.0


def test_a_token_that_the_target_never_chooses_is_not_accepted_by_any_number():
    p, q = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    assert accept_or_correct(0, p, q, Zeros(np.random.PCG64())) == 1
    assert accept_or_correct(1, p, q, Zeros(np.random.PCG64())) == 1
