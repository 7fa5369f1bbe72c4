"""Sampling: from logits to the next token.

The steps below run in the order of the `transformers` library. Another order would give another result.

1. Repetition penalty: change the logits of every token seen so far (Keskar et al., CTRL, 1909.05858, section 4.1).
2. Temperature: 0 takes the largest logit and ends here; otherwise divide all logits by the temperature.
3. Top-k: keep the k most probable tokens.
4. Top-p: keep the smallest set of most probable tokens whose probabilities sum to at least p (Holtzman et al.,
   1904.09751).
5. Min-p: keep tokens with at least min_p times the largest probability (Nguyen et al., 2407.01082).
6. Renormalise, and draw one token.

Equal probabilities are ordered by token id. All numbers after the logits are float64. Each request has its own random
generator, so a seeded request draws the same tokens in any batch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.arrays import Array, Bool, Float
from minillm.events import Drawn, listener
from minillm.support.checks import check_bool, check_integer, is_utf8, shown

LARGEST = sys.float_info.max
MOST_PENALTY = 1e9  # the penalty is from 1e-9 to 1e9, so that a float32 logit times or over it stays finite


@dataclass(frozen=True)
class Sampling:
    """How the next token is sampled, and what ends a request.

    Attributes:
        temperature: 0 is greedy; 1 leaves the model's distribution unchanged.
        top_k: keep the `top_k` most probable tokens; None, 0 or -1 keeps all.
        top_p: keep the most probable tokens with this sum of probabilities, in [0, 1]; at least one is kept.
        min_p: keep tokens with at least this fraction of the largest probability, in [0, 1].
        repetition_penalty: above 1 makes tokens of the prompt and of the answer less probable.
        seed: of this request's random generator; None takes one from the system.
        stop: one or several strings, or None. The output ends before the first that occurs.
        logprobs: also return each new token's log-probability and the `logprobs` most probable tokens, from raw logits.
        ignore_eos: continue after an end-of-sequence token.

    Example:
        >>> minillm.Sampling(temperature=0.8, top_k=40, seed=1).top_k
        40
        >>> minillm.Sampling(temperature=-1)
        Traceback (most recent call last):
        ValueError: temperature is -1; expected a finite number of at least 0
    """

    temperature: int | float = 0.0
    top_k: int | None = None
    top_p: int | float = 1.0
    min_p: int | float = 0.0
    repetition_penalty: int | float = 1.0
    seed: int | None = None
    stop: Sequence[str] | None = ()
    logprobs: int | None = None
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            ValueError: a value is out of its range.
        """
        _check_number("temperature", self.temperature, 0.0, LARGEST, "a finite number of at least 0")
        _check_number("top_p", self.top_p, 0.0, 1.0, "a number from 0 to 1")
        _check_number("min_p", self.min_p, 0.0, 1.0, "a number from 0 to 1")
        _check_number(
            "repetition_penalty", self.repetition_penalty, 1 / MOST_PENALTY, MOST_PENALTY, "a number from 1e-9 to 1e9"
        )
        for name, least in (("top_k", -1), ("seed", 0), ("logprobs", 0)):
            if getattr(self, name) is not None:  # a Python int: NumPy integers would overflow
                object.__setattr__(self, name, check_integer(name, getattr(self, name), least))
        object.__setattr__(self, "top_k", None if self.top_k == -1 else self.top_k)
        check_bool("ignore_eos", self.ignore_eos)
        object.__setattr__(self, "stop", _checked_stop(self.stop))

    def generator(self) -> np.random.Generator:
        """Return a new random generator for one request."""
        return np.random.default_rng(self.seed)


def probabilities(logits: Float[Array, "vocab"], sampling: Sampling, seen: Sequence[int] = ()) -> Float[Array, "vocab"]:
    """Return the distribution that the next token is drawn from; one-hot if greedy.

    Args:
        logits: the model's raw logits.
        sampling: penalty, temperature and filters.
        seen: every token so far, prompt included; only the penalty reads them.

    Raises:
        ValueError: a logit is not finite.
    """
    logits = penalise(_finite(logits), sampling.repetition_penalty, seen)
    if sampling.temperature == 0:
        return (np.arange(len(logits)) == logits.argmax()).astype(np.float64)
    with np.errstate(over="ignore"):  # a tiny temperature gives -inf, and exp(-inf) is 0
        scores = (logits - logits.max()) / sampling.temperature
    probs = np.exp(scores)
    probs /= probs.sum()
    if not sampling.top_k and sampling.top_p == 1 and sampling.min_p == 0:
        return probs  # sorting a large vocabulary takes longer than computing a token in a batch
    ranked = np.argsort(-probs, kind="stable")  # most probable first, equal ones by id
    kept = ranked[_keep(probs[ranked], sampling)]
    filtered = np.zeros_like(probs)
    filtered[kept] = probs[kept] / probs[kept].sum()
    return filtered


def penalise(logits: Float[Array, "vocab"], penalty: float, seen: Sequence[int]) -> Float[Array, "vocab"]:
    """Divide the positive logits of seen tokens by the penalty, and multiply the negative ones by it."""
    if penalty == 1 or not len(seen):
        return logits
    ids, logits = np.unique(seen), logits.astype(np.float64)  # a copy
    logits[ids] = np.where(logits[ids] > 0, logits[ids] / penalty, logits[ids] * penalty)
    return logits


def _keep(probs: Float[Array, "vocab"], sampling: Sampling) -> Bool[Array, "vocab"]:
    """Return which of the probabilities, largest first, pass top-k, then top-p of those kept, then min-p."""
    passes = np.arange(len(probs)) < (sampling.top_k or len(probs))
    top_k_probs = probs * passes
    before = np.cumsum(top_k_probs) - top_k_probs  # summed probability of the more probable tokens
    if sampling.top_p < 1:
        passes[1:] &= before[1:] < sampling.top_p * top_k_probs.sum()  # the first passes for any top_p
    return passes & (probs >= sampling.min_p * probs[0])


def sample_from(probs: Float[Array, "vocab"], generator: np.random.Generator) -> int:
    """Draw one token: find where a uniform random number falls among the cumulative probabilities."""
    possible, number = np.flatnonzero(probs), generator.random()
    index = np.searchsorted(np.cumsum(probs[possible]), number, side="right")
    token = int(possible[min(int(index), len(possible) - 1)])  # rounding may leave the sum just below 1
    if tell := listener():
        tell(Drawn(probs, number, token))
    return token


def greedy(logits: Float[Array, "vocab"]) -> int:
    """Return the most probable token; of equal ones the first."""
    _check_finite(logits)
    return int(logits.argmax())


def sample(
    logits: Float[Array, "vocab"], sampling: Sampling, seen: Sequence[int], generator: np.random.Generator
) -> int:
    """Return the next token of a request that has `seen` these tokens so far."""
    if sampling.temperature == 0:  # the same token as from the one-hot distribution
        return greedy(penalise(logits, sampling.repetition_penalty, seen))
    return sample_from(probabilities(logits, sampling, seen), generator)


def log_probabilities(logits: Float[Array, "vocab"]) -> Float[Array, "vocab"]:
    """Return log softmax of raw logits, in float64."""
    logits = _finite(logits)
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def _finite(logits: Array) -> Array:
    _check_finite(logits)
    return logits.astype(np.float64)


def _check_finite(logits: Array) -> None:
    if not np.isfinite(logits).all():
        raise ValueError("the model's logits are not all finite numbers: its weights overflow, or are damaged")


def _checked_stop(stop: Any) -> tuple[str, ...]:
    """Return the stop strings as a tuple. Half a surrogate pair is not text: no answer could ever contain it."""
    texts = () if stop is None else (stop,) if isinstance(stop, str) else stop
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"stop is {shown(stop)}; expected a string or a list of strings, none of them empty")
    if not all(map(is_utf8, texts)):
        raise ValueError(f"stop is {shown(stop)}; expected text that UTF-8 can encode")
    return tuple(texts)


def _check_number(name: str, value: Any, low: float, high: float, expected: str) -> None:
    number = value.item() if isinstance(value, np.number) else value  # a float32 cannot be compared with LARGEST
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise ValueError(f"{name} is {shown(value)}; expected {expected}")
