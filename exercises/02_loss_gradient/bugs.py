"""Wrong answers to `loss_gradient`."""

import numpy as np


def _probs(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def gradient_of_the_sum(logits, targets):
    """The gradient is that of the sum over the tokens: the loss is a mean, so divide by the number of tokens."""
    probs, rows = _probs(logits), np.arange(len(targets))
    gradient = probs.copy()
    gradient[rows, targets] -= 1
    return float(-np.log(probs[rows, targets]).mean()), gradient


def target_not_subtracted(logits, targets):
    """The 1 at the target was not subtracted from the gradient: training would lower every logit."""
    probs, rows = _probs(logits), np.arange(len(targets))
    return float(-np.log(probs[rows, targets]).mean()), probs / len(targets)


def wrong_sign(logits, targets):
    """The gradient has the wrong sign: it says how the loss grows, and training moves against it."""
    probs, rows = _probs(logits), np.arange(len(targets))
    gradient = probs.copy()
    gradient[rows, targets] -= 1
    return float(-np.log(probs[rows, targets]).mean()), -gradient / len(targets)


def loss_without_minus(logits, targets):
    """The loss is negative: the logarithm of a probability is negative, so put a minus before it."""
    probs, rows = _probs(logits), np.arange(len(targets))
    gradient = probs.copy()
    gradient[rows, targets] -= 1
    return float(np.log(probs[rows, targets]).mean()), gradient / len(targets)


def loss_summed(logits, targets):
    """The loss is the sum over the tokens: it must be their mean."""
    probs, rows = _probs(logits), np.arange(len(targets))
    gradient = probs.copy()
    gradient[rows, targets] -= 1
    return float(-np.log(probs[rows, targets]).sum()), gradient / len(targets)


def mean_of_all_entries(logits, targets):
    """The mean was taken over all tokens of the vocabulary: only the target's log-probability counts."""
    probs, rows = _probs(logits), np.arange(len(targets))
    gradient = probs.copy()
    gradient[rows, targets] -= 1
    return float(-np.log(probs).mean()), gradient / len(targets)


def exp_of_large_logits(logits, targets):
    """The exp of a large logit overflows: subtract the maximum of each row first. The probabilities stay the same."""
    exponentials, rows = np.exp(logits), np.arange(len(targets))
    probs = exponentials / exponentials.sum(axis=-1, keepdims=True)
    gradient = probs.copy()
    gradient[rows, targets] -= 1
    return float(-np.log(probs[rows, targets]).mean()), gradient / len(targets)
