"""Wrong answers to `online_softmax`."""

import numpy as np


def _add(maximum, total, weighted, scores, values, scale_total=True, scale_weighted=True, inverse=False, keep=False):
    new_maximum = np.maximum(maximum, scores.max(axis=-1))
    scale = np.exp(new_maximum - maximum) if inverse else np.exp(maximum - new_maximum)
    exponentials = np.exp(scores - new_maximum[:, None])
    total = (total * scale if scale_total else total) + exponentials.sum(axis=-1)
    weighted = (weighted * scale[:, None] if scale_weighted else weighted) + exponentials @ values
    return (maximum if keep else new_maximum), total, weighted


def nothing_scaled_again(maximum, total, weighted, scores, values):
    """The earlier sums are still relative to the old maximum. Multiply both by exp(old - new)."""
    return _add(maximum, total, weighted, scores, values, scale_total=False, scale_weighted=False)


def weighted_not_scaled_again(maximum, total, weighted, scores, values):
    """The total was scaled to the new maximum, but `weighted` was not."""
    return _add(maximum, total, weighted, scores, values, scale_weighted=False)


def total_not_scaled_again(maximum, total, weighted, scores, values):
    """`weighted` was scaled to the new maximum, but the total was not."""
    return _add(maximum, total, weighted, scores, values, scale_total=False)


def scale_inverted(maximum, total, weighted, scores, values):
    """The scale is inverted: it must be exp(old - new), which is at most 1."""
    return _add(maximum, total, weighted, scores, values, inverse=True)


def maximum_of_this_block(maximum, total, weighted, scores, values):
    """The maximum of this block alone was taken. An earlier block may have a larger score."""
    new_maximum = scores.max(axis=-1)
    scale, exponentials = np.exp(maximum - new_maximum), np.exp(scores - new_maximum[:, None])
    return new_maximum, total * scale + exponentials.sum(axis=-1), weighted * scale[:, None] + exponentials @ values


def old_maximum_returned(maximum, total, weighted, scores, values):
    """The old maximum was returned, but the sums are relative to the new one."""
    return _add(maximum, total, weighted, scores, values, keep=True)


def divided_too_early(maximum, total, weighted, scores, values):
    """`weighted` was already divided by the total. This is done once, after the last block."""
    maximum, total, weighted = _add(maximum, total, weighted, scores, values)
    return maximum, total, weighted / total[:, None]
