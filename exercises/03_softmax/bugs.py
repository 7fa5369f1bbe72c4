"""Wrong answers to `softmax`."""

import numpy as np


def largest_not_subtracted(scores):
    """exp of a large score overflows: subtract the largest score of each row first."""
    exponentials = np.exp(scores)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def one_sum_for_all_rows(scores):
    """The whole array sums to 1, instead of each row: sum along the last axis, with keepdims."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum()


def wrong_axis(scores):
    """The first axis was normalised, not the last: the weights of one query lie along the last axis."""
    exponentials = np.exp(scores - scores.max(axis=0, keepdims=True))
    return exponentials / exponentials.sum(axis=0, keepdims=True)


def summed_down_the_columns(scores):
    """The maximum is that of each row, but the sum is that of each column (axis=0): sum along the last axis, too."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=0, keepdims=True)


def not_normalised(scores):
    """These are exponentials, not weights yet: divide them by the sum of their row."""
    return np.exp(scores - scores.max(axis=-1, keepdims=True))


def one_maximum_for_all_rows(scores):
    """One maximum was subtracted from all rows, so exp of a low row becomes 0: use the maximum of each row."""
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
