"""Wrong answers to `temperature_top_k`."""

import numpy as np


def _softmax(scores):
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def _kept(logits, temperature, top_k):
    return np.argsort(-logits, kind="stable")[: top_k if temperature > 0 else 1]


def _spread(logits, kept, temperature):
    probs = np.zeros(len(logits))
    probs[kept] = _softmax(logits[kept] / (temperature or 1.0))
    return probs


def temperature_multiplied(logits, temperature, top_k):
    """The logits were multiplied by the temperature: a high temperature must make tokens more equal. Divide."""
    probs, kept = np.zeros(len(logits)), _kept(logits, temperature, top_k)
    probs[kept] = _softmax(logits[kept] * (temperature or 1.0))
    return probs


def temperature_ignored(logits, temperature, top_k):
    """The temperature has no effect: divide the logits by it before softmax. Applied to probabilities it cancels."""
    return _spread(logits, _kept(logits, temperature, top_k), 1.0)


def zero_divides(logits, temperature, top_k):
    """Temperature 0 was divided by: it means the largest logit alone."""
    kept = np.argsort(-logits, kind="stable")[:top_k]
    probs = np.zeros(len(logits))
    probs[kept] = _softmax(logits[kept] / temperature) if temperature else np.nan
    return probs


def zero_is_one(logits, temperature, top_k):
    """Temperature 0 was taken as 1: it means the largest logit alone."""
    return _spread(logits, np.argsort(-logits, kind="stable")[:top_k], temperature)


def not_scaled(logits, temperature, top_k):
    """The probabilities do not sum to 1: softmax was computed with all tokens. Divide by the sum of the kept ones."""
    probs, kept = np.zeros(len(logits)), _kept(logits, temperature, top_k)
    probs[kept] = _softmax(logits / (temperature or 1.0))[kept] if temperature else 1.0
    return probs


def zero_for_minus_infinity(logits, temperature, top_k):
    """Logits that are not kept were set to 0, which is a logit like any other: exp(0) is 1. Set them to -inf."""
    masked, kept = np.zeros(len(logits)), _kept(logits, temperature, top_k)
    masked[kept] = logits[kept]
    return _softmax(masked / temperature) if temperature else _spread(logits, kept, 0.0)


def least_probable_kept(logits, temperature, top_k):
    """The smallest logits were kept: sort from the largest down."""
    kept = np.argsort(logits, kind="stable")[:top_k] if temperature else _kept(logits, 0.0, 1)
    return _spread(logits, kept, temperature)


def equal_logits_kept_too(logits, temperature, top_k):
    """More than top_k tokens were kept, because several logits equal the last kept one: keep the lower ids."""
    if not temperature:
        return _spread(logits, _kept(logits, 0.0, 1), 0.0)
    return _spread(logits, np.flatnonzero(logits >= np.sort(logits)[::-1][:top_k][-1]), temperature)


def higher_id_first(logits, temperature, top_k):
    """Of equal logits the higher id was kept: reversing a sorted order also reverses the equal ones."""
    ranked = np.argsort(logits, kind="stable")[::-1]
    return _spread(logits, ranked[:top_k] if temperature else ranked[:1], temperature)


def largest_not_subtracted(logits, temperature, top_k):
    """exp overflows: subtract the largest logit first."""
    probs, kept = np.zeros(len(logits)), _kept(logits, temperature, top_k)
    probs[kept] = np.exp(logits[kept] / temperature) if temperature else 1.0
    return probs / probs.sum()


def left_in_sorted_order(logits, temperature, top_k):
    """The probabilities are in sorted order: put each back at the id of its token."""
    probs, kept = np.zeros(len(logits)), _kept(logits, temperature, top_k)
    probs[: len(kept)] = _softmax(logits[kept] / (temperature or 1.0))
    return probs


def one_too_few(logits, temperature, top_k):
    """One token too few was kept: keep top_k of them."""
    return _spread(logits, _kept(logits, temperature, max(1, top_k - 1)), temperature)
