"""Sampling: from logits to the next token.

The order, which changes the result, is that of transformers:

1. repetition penalty on the logits of every token seen so far (Keskar et al., CTRL, 1909.05858, section 4.1);
2. temperature 0 takes the largest and is done; else divide by the temperature;
3. top-k: keep the k most probable;
4. top-p: keep the smallest set of most probable tokens whose mass reaches p, the token that crosses p included
   (Holtzman et al., 1904.09751);
5. min-p: keep tokens with at least min_p times the largest probability (Nguyen et al., 2407.01082);
6. renormalise and draw.

Equal probabilities are ordered by token id. Everything after the logits is float64. One request, one generator:
a seeded request draws the same tokens whatever runs beside it.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.arrays import Array, Bool, Float
from minillm.support.checks import check_bool, check_integer, shown

LARGEST, SMALLEST = sys.float_info.max, 5e-324  # the bounds of a finite number above 0
MOST_PENALTY = 1e9  # or one over it: whatever a logit in float32 is, times or over this it stays a finite number


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, and what stops a request.

    Attributes:
        temperature: 0 is greedy; 1 leaves the model's distribution as it is.
        top_k: keep this many tokens; None or 0 keeps all.
        top_p: keep this much probability, in (0, 1].
        min_p: keep tokens of at least this share of the largest probability, in [0, 1].
        repetition_penalty: above 1 makes tokens that were seen, prompt included, less likely.
        seed: of this request's generator; None draws one from the system.
        stop: text that ends the output; it is not part of it.
        logprobs: also report each new token's log-probability and this many best, from the raw logits.
        ignore_eos: go on after an end-of-sequence token.
    """

    temperature: int | float = 0.0
    top_k: int | None = None
    top_p: int | float = 1.0
    min_p: int | float = 0.0
    repetition_penalty: int | float = 1.0
    seed: int | None = None
    stop: Sequence[str] = ()
    logprobs: int | None = None
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        _check_number("temperature", self.temperature, 0.0, LARGEST, "a finite number of at least 0")
        _check_number("top_p", self.top_p, SMALLEST, 1.0, "a number above 0 and at most 1")
        _check_number("min_p", self.min_p, 0.0, 1.0, "a number from 0 to 1")
        _check_number(
            "repetition_penalty", self.repetition_penalty, 1 / MOST_PENALTY, MOST_PENALTY, "a number from 1e-9 to 1e9"
        )
        for name in ("top_k", "seed", "logprobs"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_integer(name, getattr(self, name), 0))  # NumPy's own overflow
        check_bool("ignore_eos", self.ignore_eos)
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        if not isinstance(stop, list | tuple) or not all(isinstance(text, str) and text for text in stop):
            raise ValueError(f"stop is {shown(self.stop)}; expected a text or a list of texts, none of them empty")
        object.__setattr__(self, "stop", tuple(stop))

    def generator(self) -> np.random.Generator:
        """A new random generator for one request."""
        return np.random.default_rng(self.seed)


def probabilities(logits: Float[Array, "vocab"], sampling: Sampling, seen: Sequence[int] = ()) -> Float[Array, "vocab"]:
    """The distribution that the next token is drawn from; one-hot if greedy.

    Args:
        logits: of the model, raw.
        sampling: penalty, temperature and filters.
        seen: every token so far, prompt included; only the penalty looks at them.

    Raises:
        ValueError: a logit is not a number, or infinite.
    """
    logits = penalise(_finite(logits), sampling.repetition_penalty, seen)
    if sampling.temperature == 0:
        return (np.arange(len(logits)) == logits.argmax()).astype(np.float64)
    with np.errstate(over="ignore"):  # a tiny temperature: -inf, whose exp is 0, as it should be
        scores = (logits - logits.max()) / sampling.temperature
    probs = np.exp(scores)
    probs /= probs.sum()
    if not sampling.top_k and sampling.top_p == 1 and sampling.min_p == 0:
        return probs  # sorting a large vocabulary takes longer than a token of a batched forward pass
    ranked = np.argsort(-probs, kind="stable")  # most probable first, equal ones by id
    kept = ranked[_keep(probs[ranked], sampling)]
    filtered = np.zeros_like(probs)
    filtered[kept] = probs[kept] / probs[kept].sum()
    return filtered


def penalise(logits: Float[Array, "vocab"], penalty: float, seen: Sequence[int]) -> Float[Array, "vocab"]:
    """Divide the positive logits of seen tokens by the penalty, and multiply the negative ones."""
    if penalty == 1 or not len(seen):
        return logits
    ids, logits = np.unique(seen), logits.astype(np.float64)  # a copy
    logits[ids] = np.where(logits[ids] > 0, logits[ids] / penalty, logits[ids] * penalty)
    return logits


def _keep(probs: Float[Array, "vocab"], sampling: Sampling) -> Bool[Array, "vocab"]:
    """Which of the probabilities, largest first, pass top-k, then top-p of what is left, then min-p."""
    keep = np.arange(len(probs)) < (sampling.top_k or len(probs))
    left = probs * keep
    before = np.cumsum(left) - left  # mass of the more probable tokens
    if sampling.top_p < 1:
        keep &= before < sampling.top_p * left.sum()
    return keep & (probs >= sampling.min_p * probs[0])


def sample_from(probs: Float[Array, "vocab"], generator: np.random.Generator) -> int:
    """One token: where a uniform number falls among the cumulated probabilities."""
    possible = np.flatnonzero(probs)
    place = np.searchsorted(np.cumsum(probs[possible]), generator.random(), side="right")
    return int(possible[min(int(place), len(possible) - 1)])  # the sum may fall a rounding short of 1


def greedy(logits: Float[Array, "vocab"]) -> int:
    """The most probable token; of equal ones the first."""
    _check_finite(logits)
    return int(logits.argmax())


def sample(
    logits: Float[Array, "vocab"], sampling: Sampling, seen: Sequence[int], generator: np.random.Generator
) -> int:
    """The next token."""
    if sampling.temperature == 0:  # the largest, without sorting the vocabulary
        return greedy(penalise(logits, sampling.repetition_penalty, seen))
    return sample_from(probabilities(logits, sampling, seen), generator)


def log_probabilities(logits: Float[Array, "vocab"]) -> Float[Array, "vocab"]:
    """log softmax of raw logits, in float64."""
    logits = _finite(logits)
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def _finite(logits: Array) -> Array:
    _check_finite(logits)
    return logits.astype(np.float64)


def _check_finite(logits: Array) -> None:
    if not np.isfinite(logits).all():
        raise ValueError("the model's logits are not all finite numbers: its weights overflow, or are damaged")


def _check_number(name: str, value: Any, low: float, high: float, expected: str) -> None:
    number = value.item() if isinstance(value, np.number) else value  # a float32 cannot be compared with LARGEST
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise ValueError(f"{name} is {shown(value)}; expected {expected}")
