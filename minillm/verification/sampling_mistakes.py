"""Which mistake gives a distribution that a sampler has: options in another order, a usual error, or an ignored one.

A distribution is changed step by step. So each mistake is a list of steps, and its distribution can be computed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from minillm.arrays import Array, Float

EXACT = 1e-4  # as close as probabilities in float32 must be
Steps = Sequence[tuple["Step", float]]
Step = Callable[[Array, float], Array]


def mistake_of(found: Sequence[float], logits: Sequence[float], options: Mapping[str, Any]) -> str:
    """Return a line for each mistake that gives this distribution, or "" if none is known."""
    if options.get("temperature") == 0:
        return ""
    numbers = {name: float(value) for name, value in options.items()}  # top_k is an int
    told = [text for text, steps in mistakes(numbers) if np.abs(distribution_of(steps, logits) - found).max() <= EXACT]
    return "".join(f"\n{'Or: ' * (number > 0)}{text}" for number, text in enumerate(told))


def mistakes(options: Mapping[str, float]) -> Iterator[tuple[str, Steps]]:
    """Yield mistakes with these options, and their steps."""
    right = [name for name in STEPS if name in options]
    for order in permutations(right):
        if list(order) != right:
            shown = f"{', then '.join(order)}; expected {', then '.join(right)}"
            yield f"This is the distribution of another order: {shown}.", [(STEPS[n], options[n]) for n in order]
    for name, (text, step) in WRONG_STEPS.items():
        if name in options:
            yield text, [(step if other == name else STEPS[other], options[other]) for other in right]
    for name in right:
        text = f"This is the distribution without {name}. An engine that does not have it raises Unsupported."
        yield text, [(STEPS[other], options[other]) for other in right if other != name]


def distribution_of(steps: Steps, logits: Sequence[float]) -> Float[Array, "vocab"]:
    """Return the probability of each token after these steps."""
    probs = np.exp(np.array(logits, float) - max(logits))
    probs /= probs.sum()
    for step, value in steps:
        probs = step(probs, value)
        probs = probs / probs.sum()
    return probs


def divide(probs: Float[Array, "vocab"], temperature: float) -> Float[Array, "vocab"]:
    """Divide the logits by the temperature."""
    return probs ** (1 / temperature)


def keep_best(probs: Float[Array, "vocab"], top_k: float) -> Float[Array, "vocab"]:
    """Keep the `top_k` most probable tokens."""
    return np.where(np.argsort(np.argsort(-probs, kind="stable")) < top_k, probs, 0)


def keep_nucleus(probs: Float[Array, "vocab"], top_p: float) -> Float[Array, "vocab"]:
    """Keep the most probable tokens until their sum is at least `top_p`."""
    return np.where(before(probs) < top_p, probs, 0)


def keep_likely(probs: Float[Array, "vocab"], min_p: float) -> Float[Array, "vocab"]:
    """Keep tokens with at least `min_p` times the largest probability."""
    return np.where(probs >= min_p * probs.max(), probs, 0)


def keep_below(probs: Float[Array, "vocab"], top_p: float) -> Float[Array, "vocab"]:
    """Keep the tokens whose sum is at most `top_p`, and the first one: a mistake."""
    return np.where((before(probs) + probs <= top_p) | (before(probs) == 0), probs, 0)


def keep_above(probs: Float[Array, "vocab"], min_p: float) -> Float[Array, "vocab"]:
    """Keep tokens with at least the probability `min_p`, and the first one: a mistake."""
    return np.where((probs >= min_p) | (before(probs) == 0), probs, 0)


def before(probs: Float[Array, "vocab"]) -> Float[Array, "vocab"]:
    """Return for each token the sum of all that are more probable."""
    order = np.argsort(-probs, kind="stable")
    sums = np.empty_like(probs)
    sums[order] = np.cumsum(probs[order]) - probs[order]
    sums[order[0]] = 0
    return sums


STEPS: dict[str, Step] = {"temperature": divide, "top_k": keep_best, "top_p": keep_nucleus, "min_p": keep_likely}
WRONG_STEPS: dict[str, tuple[str, Step]] = {
    "top_p": ("The token that crosses top_p is left out; expected: it is kept.", keep_below),
    "min_p": (
        "min_p is compared with the probability; expected: with the probability over the largest one.",
        keep_above,
    ),
}
