"""Wrong answers to `int4_packing`."""

import numpy as np


def _halves(numbers):
    half = numbers.shape[1] // 2
    return numbers[:, :half], numbers[:, half:]


def _weights(numbers, scales, minimums):
    return numbers * scales[:, None] + minimums[:, None]


def neighbours_together(numbers, scales, minimums):
    """Neighbours share a byte: number j belongs with number j + size / 2."""
    return numbers[:, ::2] | numbers[:, 1::2] << 4, _weights(numbers, scales, minimums)


def halves_exchanged(numbers, scales, minimums):
    """Lower and upper half are exchanged: the first numbers of a group are in the lower 4 bits."""
    lower, upper = _halves(numbers)
    return lower << 4 | upper, _weights(numbers, scales, minimums)


def not_moved(numbers, scales, minimums):
    """Both numbers are in the same 4 bits: move the second one 4 bits to the left."""
    lower, upper = _halves(numbers)
    packed = lower | upper
    return packed, _weights(np.concatenate([packed & 15, packed >> 4], axis=1), scales, minimums)


def times_fifteen(numbers, scales, minimums):
    """The upper number was multiplied by 15, the largest number: 4 bits have 16 values, so multiply by 16."""
    lower, upper = _halves(numbers)
    return lower + upper * 15, _weights(numbers, scales, minimums)


def moved_by_eight(numbers, scales, minimums):
    """The upper 4 bits are 0, so half of the numbers are lost: move each of them 4 bits to the left, into its byte."""
    lower, upper = _halves(numbers)
    packed = (lower | upper.astype(np.int64) << 8).astype(np.uint8)
    return packed, _weights(np.concatenate([packed & 15, packed >> 4], axis=1), scales, minimums)


def lower_bits_not_cut(numbers, scales, minimums):
    """The upper 4 bits are still there where the lower number was unpacked: keep 4 bits with & 15."""
    lower, upper = _halves(numbers)
    packed = lower | upper << 4
    return packed, _weights(np.concatenate([packed, packed >> 4], axis=1), scales, minimums)


def interleaved_when_unpacked(numbers, scales, minimums):
    """The unpacked numbers alternate: first all lower halves of the group, then all upper ones."""
    lower, upper = _halves(numbers)
    unpacked = np.stack([lower, upper], axis=-1).reshape(numbers.shape)
    return lower | upper << 4, _weights(unpacked, scales, minimums)


def minimum_scaled(numbers, scales, minimums):
    """The minimum was added before the scale was applied: number * scale + minimum."""
    lower, upper = _halves(numbers)
    return lower | upper << 4, (numbers + minimums[:, None]) * scales[:, None]


def minimum_missing(numbers, scales, minimums):
    """The minimum was not added: number 0 means the smallest weight of the group, not 0."""
    lower, upper = _halves(numbers)
    return lower | upper << 4, numbers * scales[:, None]


def signed(numbers, scales, minimums):
    """8 was subtracted, as for signed numbers: here the minimum says where the numbers begin."""
    lower, upper = _halves(numbers)
    return lower | upper << 4, _weights(numbers.astype(float) - 8, scales, minimums)


def wider_bytes(numbers, scales, minimums):
    """The bytes take 8 bytes each, so nothing is saved: keep the dtype uint8."""
    lower, upper = _halves(numbers.astype(np.int64))
    return lower | upper << 4, _weights(numbers, scales, minimums)
