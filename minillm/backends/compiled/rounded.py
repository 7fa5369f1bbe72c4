"""Rounded: weights in a format of fewer bits, rounded by the kernels of `rounding.py`.

The rules for scales and minimums, and the errors, are those of `minillm/quantization/`: there is one scale for 32
weights, so NumPy is quick enough.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.arrays import Array, Float
from minillm.backends.compiled import rounding
from minillm.backends.compiled.sharing import new_counters, share
from minillm.quantization import GROUP, Bfloat16, Int4, Int8, Quantized, int4, int8, quantize
from minillm.quantization.quantized import in_groups, scales_for, to_float32


def rounded(values: Float[Array, "out in"], weights: str) -> Quantized:
    """Round a matrix to a format, to the bits that `quantization.quantize` gives.

    A single group is left to it: NumPy adds up one column in another order than several side by side.

    Raises:
        ValueError: as `quantize`.
    """
    if weights not in ROUND or values.size <= GROUP:
        return quantize(values, weights)
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(values, np.float32)
    return ROUND[weights](narrow)


def _bfloat16(values: Float[Array, "out in"]) -> Bfloat16:
    Bfloat16.of(_largest(in_groups(values)))  # if the largest weights can be rounded, all can
    bits = np.empty(values.shape, np.uint16)
    _share(rounding.round_to_bfloat16, values.view(np.uint32), bits)
    return Bfloat16(bits)


def _int8(values: Float[Array, "out in"]) -> Int8:
    groups = in_groups(values)
    scales = scales_for(_largest(groups), int8.LARGEST)
    steps = np.where(scales == 0, np.float16(1), scales).astype(np.float32)
    numbers = np.empty(groups.shape, np.int8)
    _share(rounding.round_to_int8, groups, steps, numbers)
    return Int8(np.ascontiguousarray(numbers.reshape(len(values), -1)[:, : values.shape[1]]), scales)


def _int4(values: Float[Array, "out in"]) -> Int4:
    groups = in_groups(values)
    _largest(groups)  # checks that all are numbers
    smallest, largest, slopes, offsets = (np.empty(groups.shape[:2], np.float32) for _ in range(4))
    _share(rounding.extremes_of_groups, groups, smallest, largest)
    minimums = int4.float16_at_most(smallest)
    scales = scales_for(largest - minimums.astype(np.float32), int4.LARGEST)
    line = scales.astype(np.float32), minimums.astype(np.float32)
    _share(rounding.fit_groups, groups, *line, slopes, offsets)
    with np.errstate(over="ignore"):
        slopes, offsets = slopes.astype(np.float16), offsets.astype(np.float16)
    fitted = slopes.astype(np.float32), offsets.astype(np.float32)
    better, pairs = np.empty(scales.shape, np.bool_), np.empty((*scales.shape, GROUP // 2), np.uint8)
    _share(rounding.round_to_int4, groups, line, fitted, better, pairs)
    return Int4(pairs, np.where(better, slopes, scales), np.where(better, offsets, minimums), values.shape[1])


ROUND: dict[str, Callable[[Array], Quantized]] = {"bfloat16": _bfloat16, "int8": _int8, "int4": _int4}


def _largest(groups: Float[Array, "out groups 32"]) -> Float[Array, "out groups"]:
    """Return the largest |weight| of each group.

    Raises:
        ValueError: a weight is infinite or not a number.
    """
    largest = np.empty(groups.shape[:2], np.uint32)
    _share(rounding.largest_of_groups, groups.view(np.uint32), largest)
    return to_float32(largest.view(np.float32))


def _share(kernel: Any, values: Array, *args: Any) -> None:
    share(values.size, kernel, values, *args, new_counters())
