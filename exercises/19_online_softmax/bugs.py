"""Wrong answers to `online_softmax`."""

import numpy as np


def _add(maximum, total, mixed, scores, values, shrink_total=True, shrink_mixed=True, backwards=False, keep=False):
    new_maximum = np.maximum(maximum, scores.max(axis=-1))
    shrink = np.exp(new_maximum - maximum) if backwards else np.exp(maximum - new_maximum)
    exponentials = np.exp(scores - new_maximum[:, None])
    total = (total * shrink if shrink_total else total) + exponentials.sum(axis=-1)
    mixed = (mixed * shrink[:, None] if shrink_mixed else mixed) + exponentials @ values
    return (maximum if keep else new_maximum), total, mixed


def nothing_scaled_again(maximum, total, mixed, scores, values):
    """What was added before is still relative to the old maximum: multiply it by exp(old - new)."""
    return _add(maximum, total, mixed, scores, values, shrink_total=False, shrink_mixed=False)


def mixed_not_scaled_again(maximum, total, mixed, scores, values):
    """The total was scaled to the new maximum, but the mixed values were not."""
    return _add(maximum, total, mixed, scores, values, shrink_mixed=False)


def total_not_scaled_again(maximum, total, mixed, scores, values):
    """The mixed values were scaled to the new maximum, but the total was not."""
    return _add(maximum, total, mixed, scores, values, shrink_total=False)


def scaled_the_wrong_way(maximum, total, mixed, scores, values):
    """The scale is turned over: a larger maximum makes what came before smaller, exp(old - new)."""
    return _add(maximum, total, mixed, scores, values, backwards=True)


def maximum_of_this_block(maximum, total, mixed, scores, values):
    """The maximum of this block alone was taken: an earlier block may have had a larger score."""
    new_maximum = scores.max(axis=-1)
    shrink, exponentials = np.exp(maximum - new_maximum), np.exp(scores - new_maximum[:, None])
    return new_maximum, total * shrink + exponentials.sum(axis=-1), mixed * shrink[:, None] + exponentials @ values


def old_maximum_returned(maximum, total, mixed, scores, values):
    """The old maximum was returned with sums that are relative to the new one."""
    return _add(maximum, total, mixed, scores, values, keep=True)


def divided_too_early(maximum, total, mixed, scores, values):
    """The mixed values were divided by the total already: that is done once, after the last block."""
    maximum, total, mixed = _add(maximum, total, mixed, scores, values)
    return maximum, total, mixed / total[:, None]
