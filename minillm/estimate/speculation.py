"""What speculative decoding can gain: the theory of Leviathan et al., 2211.17192, and its form for a CPU.

In a round a draft guesses k tokens and the target verifies them in one forward pass. If each guess is accepted with
the same probability `acceptance`, independent of the others (alpha in the paper), these are the figures to expect.
Real acceptances are correlated: a text is easy for a while, then hard; so measurements lie off the formula.
"""

from collections.abc import Callable, Sequence

import numpy as np

from minillm.config import ModelConfig

# Seconds of one forward of n rows over those of one row, smollm2 in float32 on two cores of an EPYC server. The papers
# take 1 for all n, which holds for an accelerator that waits for memory; here more rows cost more arithmetic.
CPU_VERIFY_COSTS = (1.0, 1.53, 1.84, 2.13, 2.38, 2.42, 2.48, 2.52, 2.97, 2.97, 2.97, 2.97, 2.96, 2.96, 2.96, 2.95)
# The same where weights lie in tiles (`backends/tiles.py`): 1, 2, 4, 8 and 16 rows measured, straight lines between.
CPU_TILED_VERIFY_COSTS = (1.0, 1.02, 1.07, 1.12, 1.22, 1.32, 1.43, 1.53, 1.63, 1.72, 1.82, 1.92, 2.01, 2.11, 2.2, 2.3)
# A decode step on the same machine: bytes read per second, and what a layer takes beside its matrix products.
CPU_BYTES_PER_S, CPU_SECONDS_PER_LAYER = 20e9, 47e-6

VerifyCost = Callable[[int], int | float]  # of so many rows, in decode steps of the target


def same_cost(rows: int) -> float:
    """The papers' assumption: verifying any number of rows takes as long as one decode step."""
    return 1.0


def acceptance_rate(p: Sequence[float] | np.ndarray, q: Sequence[float] | np.ndarray) -> float:
    """The probability that a guess drawn from q is accepted by the target's p: sum(min(p, q)) = 1 - TV(p, q)."""
    return float(np.minimum(p, q).sum())


def tokens_per_round(acceptance: int | float, k: int) -> float:
    """Accepted guesses and one token more: (1 - a**(k+1)) / (1 - a) = 1 + a + ... + a**k (equation 1)."""
    return float(sum(acceptance**i for i in range(k + 1)))


def speedup(acceptance: int | float, k: int, draft_cost: int | float, verify_cost: VerifyCost = same_cost) -> float:
    """How many times as many tokens per second as plain decoding (theorem 3.8, with the real cost of k + 1 rows).

    Args:
        acceptance: of each guess.
        k: guesses in a round.
        draft_cost: one draft step over one target step, c in the paper.
        verify_cost: verifying so many rows over one target step, v.
    """
    return tokens_per_round(acceptance, k) / (k * draft_cost + verify_cost(k + 1))


def operations(acceptance: int | float, k: int, draft_operations: int | float) -> float:
    """How many times as many operations as plain decoding (theorem 3.11); the draft's are a share of the target's."""
    return (k * draft_operations + k + 1) / tokens_per_round(acceptance, k)


def best_k(acceptance: int | float, draft_cost: int | float, most: int, verify_cost: VerifyCost = same_cost) -> int:
    """The k from 0 to `most` with the greatest speed-up; 0 says that speculation would lose."""
    return max(range(most + 1), key=lambda k: speedup(acceptance, k, draft_cost, verify_cost))


def break_even(k: int, draft_cost: int | float, verify_cost: VerifyCost = same_cost) -> float:
    """The acceptance from which guessing k tokens gains; 1 if it never does."""
    low, high = 0.0, 1.0
    for _ in range(50):  # halves an interval that holds it
        middle = (low + high) / 2
        gains = speedup(middle, k, draft_cost, verify_cost) > 1
        low, high = (low, middle) if gains else (middle, high)
    return high


def cpu_verify_cost(rows: int, tiled: bool = False) -> float:
    """v for at most 16 rows, on the machines of `CPU_VERIFY_COSTS` and, with weights in tiles, the table after it."""
    return (CPU_TILED_VERIFY_COSTS if tiled else CPU_VERIFY_COSTS)[rows - 1]


def cpu_draft_cost(draft: ModelConfig, target: ModelConfig) -> float:
    """c on that machine: bytes of float32 weights, and small models mostly wait for their layers' many small calls."""
    return _step_s(draft) / _step_s(target)


def _step_s(config: ModelConfig) -> float:
    attention = 2 * config.head_dim * (config.num_attention_heads + config.num_key_value_heads)
    layer = config.hidden_size * (attention + 3 * config.intermediate_size)
    weights = config.num_hidden_layers * layer + config.vocab_size * config.hidden_size
    return 4 * weights / CPU_BYTES_PER_S + config.num_hidden_layers * CPU_SECONDS_PER_LAYER
