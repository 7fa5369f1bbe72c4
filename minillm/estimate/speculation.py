"""What speculative decoding can gain: the theory of Leviathan et al., 2211.17192, with the real cost of a verification.

In a round a drafter proposes k draft tokens and the target verifies them in one forward pass. If each draft token is
accepted with the same probability `acceptance` (alpha in the paper), independently of the others, these are the figures
to expect. Real acceptances are correlated: a text is easy for a while, then hard. So measurements differ from them.
"""

from collections.abc import Callable, Sequence

import numpy as np

from minillm.config import ModelConfig

# A decode step of minillm on an EPYC server: bytes read per second, and seconds of a layer besides its products.
CPU_BYTES_PER_S, CPU_SECONDS_PER_LAYER = 20e9, 47e-6

VerifyCost = Callable[[int], int | float]  # cost of a forward pass by its rows, in decode steps of the target


def same_cost(rows: int) -> float:
    """Return 1, the papers' assumption: a pass of any number of rows takes as long as a decode step."""
    return 1.0


def acceptance_rate(p: Sequence[float] | np.ndarray, q: Sequence[float] | np.ndarray) -> float:
    """Return the probability that a token drawn from q is accepted by the target's p: sum(min(p, q)) = 1 - TV(p, q)."""
    return float(np.minimum(p, q).sum())


def tokens_per_round(acceptance: int | float, k: int) -> float:
    """Return the accepted draft tokens plus one: 1 + a + ... + a**k = (1 - a**(k+1)) / (1 - a) (equation 1)."""
    return float(sum(acceptance**i for i in range(k + 1)))


def speedup(acceptance: int | float, k: int, draft_cost: int | float, verify_cost: VerifyCost = same_cost) -> float:
    """Return the tokens per second over those of plain decoding (theorem 3.8, with the real cost of k + 1 rows).

    Args:
        acceptance: probability that a draft token is accepted.
        k: draft tokens in a round.
        draft_cost: one draft step over one target step, c in the paper.
        verify_cost: by the number of rows, a pass over one target step, v.
    """
    return tokens_per_round(acceptance, k) / (k * draft_cost + verify_cost(k + 1))


def operations(acceptance: int | float, k: int, draft_operations: int | float) -> float:
    """Return the operations over those of plain decoding (theorem 3.11).

    Args:
        acceptance, k: as in `speedup`.
        draft_operations: of a draft step, over those of a target step.
    """
    return (k * draft_operations + k + 1) / tokens_per_round(acceptance, k)


def best_k(acceptance: int | float, draft_cost: int | float, most: int, verify_cost: VerifyCost = same_cost) -> int:
    """Return the k from 0 to `most` with the greatest speed-up. If it is 0, speculation loses."""
    return max(range(most + 1), key=lambda k: speedup(acceptance, k, draft_cost, verify_cost))


def break_even(k: int, draft_cost: int | float, verify_cost: VerifyCost = same_cost) -> float:
    """Return the acceptance above which k draft tokens gain; 1 if they never do."""
    low, high = 0.0, 1.0
    for _ in range(50):  # halves the interval that contains it
        middle = (low + high) / 2
        gains = speedup(middle, k, draft_cost, verify_cost) > 1
        low, high = (low, middle) if gains else (middle, high)
    return high


def cpu_draft_cost(draft: ModelConfig, target: ModelConfig) -> float:
    """Return c on that server, from the bytes of float32 weights and the number of layers.

    Small models mostly wait for their layers' many small calls: with 2 layers of 6, `story-draft` costs 0.17 of `story`
    although it has a twelfth of its weights.
    """
    return _step_s(draft) / _step_s(target)


def _step_s(config: ModelConfig) -> float:
    attention = 2 * config.head_dim * (config.num_attention_heads + config.num_key_value_heads)
    layer = config.hidden_size * (attention + 3 * config.intermediate_size)
    weights = config.num_hidden_layers * layer + config.vocab_size * config.hidden_size
    return 4 * weights / CPU_BYTES_PER_S + config.num_hidden_layers * CPU_SECONDS_PER_LAYER
