"""Wrong answers to `loss_gradient`."""

import numpy as np


def _probs(logits, subtracted=None):
    exponentials = np.exp(logits - (logits.max(axis=-1, keepdims=True) if subtracted is None else subtracted))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _result(probs, targets):
    rows = np.arange(len(targets))
    gradient = probs.copy()
    gradient[rows, targets] -= 1
    return float(-np.log(probs[rows, targets]).mean()), gradient / len(targets)


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


def one_maximum_for_all_rows(logits, targets):
    """One maximum was subtracted from all rows, so exp of a low row becomes 0: use the maximum of each row."""
    return _result(_probs(logits, logits.max()), targets)


def first_logit_subtracted(logits, targets):
    """The first logit of each row was subtracted: another one may be far larger, so subtract the row's maximum."""
    return _result(_probs(logits, logits[:, :1]), targets)


def mean_subtracted(logits, targets):
    """The mean of each row was subtracted: the largest logit may be far above it, so subtract the row's maximum."""
    return _result(_probs(logits, logits.mean(axis=-1, keepdims=True)), targets)
