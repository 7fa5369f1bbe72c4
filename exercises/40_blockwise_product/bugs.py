"""Wrong answers to `blockwise_product`."""

import numpy as np


def _within(x, numbers):
    return np.einsum("rgs,ogs->rog", x, numbers.astype(np.float64))  # [rows, out, groups]


def scales_added_up(x, numbers, scales):
    """The groups were added before they were scaled, then the sum of the scales was applied: scale each group first."""
    return _within(x, numbers).sum(axis=-1) * scales.sum(axis=-1)


def mean_scale(x, numbers, scales):
    """One mean scale was applied to the whole row: each group has its own scale."""
    return _within(x, numbers).sum(axis=-1) * scales.mean(axis=-1)


def first_scale_for_all(x, numbers, scales):
    """The scale of the first group was applied to all groups: each group has its own."""
    return _within(x, numbers).sum(axis=-1) * scales[:, 0]


def not_scaled(x, numbers, scales):
    """The scales were not applied: a weight is number * scale."""
    return _within(x, numbers).sum(axis=-1)


def divided_by_the_scale(x, numbers, scales):
    """The sums were divided by the scales. That is how weights become numbers; here multiply."""
    return (_within(x, numbers) / scales).sum(axis=-1)


def scaled_twice(x, numbers, scales):
    """The scale was applied twice, to the weights and to the sum: once is enough."""
    return (_within(x, numbers) * scales**2).sum(axis=-1)


def last_group_only(x, numbers, scales):
    """Only the last group is in the result: add the groups up with +=."""
    return (_within(x, numbers) * scales)[..., -1]


def x_in_integers(x, numbers, scales):
    """x was converted to integers to match the numbers, and its decimals are lost: convert the numbers to floats."""
    return (_within(np.trunc(x), numbers) * scales).sum(axis=-1)


def scales_of_the_first_output(x, numbers, scales):
    """The scales of the first output were applied to all: each row of the weights has its own scales."""
    return (_within(x, numbers) * scales[0]).sum(axis=-1)


def groups_not_added(x, numbers, scales):
    """The result has one number for each group: add the groups up."""
    return _within(x, numbers) * scales


def sums_in_int8(x, numbers, scales):
    """The products were added in int8, which holds -128 to 127 and wraps around: add them as floats."""
    wrapped = _within(x, numbers).astype(np.int64).astype(np.int8)
    return (wrapped * scales).sum(axis=-1)
