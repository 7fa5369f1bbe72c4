"""Properties of sampling: from the definitions in the papers, for small vocabularies.

A property takes Hypothesis's `data`, and raises AssertionError with the text of the counterexample.
"""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import minillm
from minillm.arrays import Array
from minillm.sampling import probabilities
from minillm.speculative import rounds as speculation
from minillm.support.wording import counted

SIXTHS = 6  # probabilities are multiples of 1/6, so that shares of a grid of 60 random numbers are exact
GRID = 60  # a multiple of 1 to 6


def a_penalty_makes_no_seen_token_more_probable(data: st.DataObject) -> None:
    """Penalising a token that was seen must not make it more probable."""
    logits = data.draw(_logits())
    token = data.draw(st.integers(0, len(logits) - 1))
    sampling = minillm.Sampling(temperature=1.0, repetition_penalty=1.5)
    before, after = (probabilities(logits, sampling, seen)[token] for seen in ([], [token]))
    if after > before + 1e-12:
        raise AssertionError(
            f"logits {_listed(logits)}, repetition_penalty=1.5, token {token} was seen:\n"
            f"its probability was {before:.3f} and is {after:.3f}"
        )


def top_k_keeps_k_tokens(data: st.DataObject) -> None:
    """Top-k must keep exactly k tokens, also if several are equally probable."""
    logits = data.draw(_logits())
    k = data.draw(st.integers(1, len(logits)))
    kept = np.flatnonzero(probabilities(logits, minillm.Sampling(temperature=1.0, top_k=k)))
    if len(kept) != k:
        raise AssertionError(f"logits {_listed(logits)}, top_k={k}:\nkept are the tokens {kept.tolist()}; expected {k}")


def top_p_keeps_the_smallest_set_that_reaches_p(data: st.DataObject) -> None:
    """Top-p must keep the smallest set of tokens whose probabilities, at this temperature, sum to at least p."""
    logits = data.draw(_logits())
    p, temperature = data.draw(st.sampled_from([0.5, 0.75, 0.9])), data.draw(st.sampled_from([1.0, 0.5, 2.0]))
    weights = np.exp(logits / temperature)
    sums = np.cumsum(sorted(weights / weights.sum(), reverse=True))
    assume(not np.isclose(sums, p).any())
    expected = int((sums < p).sum()) + 1
    sampling = minillm.Sampling(temperature=temperature, top_p=p)
    kept = int(np.count_nonzero(probabilities(logits, sampling)))
    if kept != expected:
        shown = ", ".join(f"{each:.2f}" for each in sums)
        raise AssertionError(
            f"logits {_listed(logits)}, temperature={temperature}, top_p={p}:\n"
            f"the probabilities, largest first, sum to {shown}\n"
            f"top-p keeps {counted(kept, 'token')}; expected {expected}"
        )


def rejection_sampling_gives_the_target_distribution(data: st.DataObject) -> None:
    """Accepted draft tokens and corrections together must have exactly the target's distribution."""
    p, q = data.draw(_sixths()), data.draw(_sixths())
    found = sum((q[token] * _outcomes(token, p, q) for token in range(len(q)) if q[token]), start=np.zeros(len(p)))
    if not np.allclose(found, p):
        raise AssertionError(
            f"target {_fractions(p)}, draft {_fractions(q)}:\nthe tokens that come out have {_fractions(found)}"
        )


class Numbers:
    """A random generator that returns one given number."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        """Return the number."""
        return self.number


def _outcomes(token: int, p: Array, q: Array) -> Array:
    """Return the exact distribution of the token that comes of this draft token.

    Each number of a grid of random numbers either accepts it, or leads to a distribution that the correction is drawn
    from. `sample_from` is replaced, so that this distribution is returned instead of a token drawn from it.
    """
    outcomes, rounds = np.zeros(len(p)), vars(speculation)
    original = rounds["sample_from"]
    rounds["sample_from"] = lambda probs, generator: probs
    try:
        for number in range(GRID):
            result = rounds["accept_or_correct"](token, p, q, Numbers((number + 0.5) / GRID))
            outcomes += (np.arange(len(p)) == result if np.ndim(result) == 0 else result) / GRID
    finally:
        rounds["sample_from"] = original
    return outcomes


def _sixths() -> st.SearchStrategy[Array]:
    """Return distributions of 3 tokens in multiples of 1/6."""
    pairs = st.tuples(st.integers(0, SIXTHS), st.integers(0, SIXTHS)).map(sorted)
    return pairs.map(lambda cuts: np.diff([0, *cuts, SIXTHS]) / SIXTHS)


def _logits() -> st.SearchStrategy[Array]:
    """Return logits of 2 to 6 tokens; integers, so that some are equal."""
    return st.lists(st.integers(-3, 3), min_size=2, max_size=6).map(lambda values: np.array(values, np.float64))


def _listed(logits: Array) -> list[int]:
    return [int(logit) for logit in logits]


def _fractions(distribution: Array) -> str:
    return "(" + ", ".join(f"{each:.3f}" for each in distribution) + ")"
