"""Choices: the candidates for a token, before and after penalty, temperature and filters."""

from typing import Any

import numpy as np

from minillm.arrays import Array, Float
from minillm.completion import Completion, largest
from minillm.events import Drawn, TokenChosen
from minillm.sampling import log_probabilities, probabilities

CANDIDATES = 20


def rounded(number: float) -> float:
    """Return a number with six significant digits: enough to see, and the same on every machine."""
    return float(f"{number:.6g}")


def chosen_line(event: TokenChosen, drawn: Drawn | None) -> dict[str, Any]:
    """Return what a line says of a choice with its candidates."""
    completion, token = event.request, event.token
    assert isinstance(completion, Completion)
    logprobs = log_probabilities(event.logits)
    after = drawn.probs if drawn else _filtered(completion, event.logits)
    return {
        "logprob": rounded(float(logprobs[token])),
        "before": _best(np.exp(logprobs), token),
        "after": _best(after, token),
        "kept": int(np.count_nonzero(after)),
        "number": rounded(drawn.number) if drawn else None,
        "low": rounded(float(after[:token].sum())) if drawn else None,
    }


def unseen_line() -> dict[str, Any]:
    """Return the same of a choice whose candidates are not recorded."""
    return {"logprob": None, "before": [], "after": [], "kept": 0, "number": None, "low": None}


def _filtered(completion: Completion, logits: Float[Array, "vocab"]) -> Float[Array, "vocab"]:
    """Return what the token was chosen from: greedily, or accepted."""
    sampling = completion.sampling
    seen = completion.sequence[:-1] if sampling.repetition_penalty != 1 else ()
    return probabilities(logits, sampling, seen)


def _best(probs: Float[Array, "vocab"], token: int) -> list[list[int | float]]:
    """Return the most probable tokens and the chosen one, with their probabilities; none that cannot be chosen."""
    best = [int(index) for index in largest(probs, min(CANDIDATES, len(probs))) if probs[index]]
    best += [token] if token not in best else []
    return [[index, rounded(float(probs[index]))] for index in best]
