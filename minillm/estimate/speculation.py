"""What speculative decoding can gain: the theory of Leviathan et al., 2211.17192, with the real cost of a verification.

In a round a drafter proposes k draft tokens and the target verifies them in one forward pass. If each draft token is
accepted with the same probability `acceptance` (alpha in the paper), independently of the others, these are the figures
to expect. Real acceptances are correlated: a text is easy for a while, then hard. So measurements differ from them.
"""

from collections.abc import Callable, Sequence

import numpy as np

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
