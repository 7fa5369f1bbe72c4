"""Rounding: weights to bfloat16, int8 or int4, while a model is loaded. `rounded.py` calls these kernels.

NumPy makes ten passes over a matrix to round it, and stores an array after each. Here there are two or four passes, on
all threads. On one thread smollm2 is rounded to int8 in a fourth of the time, to int4 in half of it.

The naive twins are `Bfloat16.of`, `Int8.of` and `Int4.of` in `minillm/quantization/`, operation by operation: the bits
are the same. What has to be done once for a group, the float16 scale and minimum, `rounded.py` takes from those pages.

A row of a matrix is an item (`sharing.py`). All arrays are float32 where nothing else is said.
"""

from typing import Any

import numpy as np

from minillm.backends.compiled.compiling import inlined, kernel
from minillm.backends.compiled.sharing import done_take_next, take, wait
from minillm.backends.compiled.vectors import stack_array
from minillm.backends.compiled.weights import GROUP

# A plain 0 or 2 would make numba compute in float64, and the bits would not be those of NumPy.
ZERO, ONE, TWO, GROUP_SIZE = np.float32(0), np.float32(1), np.float32(2), np.float32(GROUP)
LARGEST_INT8, LARGEST_INT4 = np.float32(127), np.float32(15)


@kernel
def largest_of_groups(bits: Any, largest: Any, counters: Any) -> None:
    """Write the largest |weight| of each group to `largest` `[out, groups]`; both arrays are bits of floats, uint32.

    Bits without the sign are ordered as the numbers are. Those of infinity and NaN are the largest: none is missed.
    """
    row = take(counters, 0)
    while row < bits.shape[0]:
        for group in range(bits.shape[1]):
            most = np.uint32(0)
            for k in range(GROUP):
                most = max(most, bits[row, group, k] & np.uint32(0x7FFFFFFF))
            largest[row, group] = most
        row = done_take_next(counters, 0)
    wait(counters, 0, bits.shape[0])


@kernel
def round_to_bfloat16(bits: Any, halves: Any, counters: Any) -> None:
    """Round the bits of floats `[out, in]`, uint32, to their upper halves, uint16."""
    row = take(counters, 0)
    while row < bits.shape[0]:
        for i in range(bits.shape[1]):
            whole = bits[row, i]
            odd = (whole >> np.uint32(16)) & np.uint32(1)
            halves[row, i] = (whole + np.uint32(0x7FFF) + odd) >> np.uint32(16)
        row = done_take_next(counters, 0)
    wait(counters, 0, bits.shape[0])


@kernel
def round_to_int8(values: Any, steps: Any, numbers: Any, counters: Any) -> None:
    """Round groups `[out, groups, 32]` to multiples of their steps `[out, groups]`. `numbers` are int8."""
    row = take(counters, 0)
    while row < values.shape[0]:
        for group in range(values.shape[1]):
            for k in range(GROUP):
                number = np.rint(values[row, group, k] / steps[row, group])
                numbers[row, group, k] = min(max(number, -LARGEST_INT8), LARGEST_INT8)
        row = done_take_next(counters, 0)
    wait(counters, 0, values.shape[0])


@kernel
def extremes_of_groups(values: Any, smallest: Any, largest: Any, counters: Any) -> None:
    """Write the smallest and the largest weight of each group `[out, groups, 32]` to arrays `[out, groups]`."""
    row = take(counters, 0)
    while row < values.shape[0]:
        for group in range(values.shape[1]):
            low = high = values[row, group, 0]
            for k in range(1, GROUP):
                low, high = min(low, values[row, group, k]), max(high, values[row, group, k])
            smallest[row, group], largest[row, group] = low, high
        row = done_take_next(counters, 0)
    wait(counters, 0, values.shape[0])


@inlined
def round_group(values: Any, row: int, group: int, scale: Any, minimum: Any, numbers: Any) -> Any:
    """Round a group to numbers 0 to 15, which are floats. Return the sum of its squared errors, and the largest error.

    The naive twin is `Rounded.to`.
    """
    step = ONE if scale == ZERO else scale
    squares, worst = ZERO, ZERO
    for k in range(GROUP):
        above = values[row, group, k] - minimum
        numbers[k] = min(max(np.rint(above / step), ZERO), LARGEST_INT4)
        error = abs(numbers[k] * scale - above)
        squares += error * error
        worst = max(worst, error)
    return squares, worst


@kernel
def fit_groups(values: Any, scales: Any, minimums: Any, slopes: Any, offsets: Any, counters: Any) -> None:
    """Round groups `[out, groups, 32]`, then fit a line through numbers and weights. The naive twin is `fitted`.

    Args:
        values: the weights.
        scales, minimums: those of the line from the smallest to the largest weight, `[out, groups]`.
        slopes, offsets: the fitted line, written, `[out, groups]`.
        counters: see `sharing.py`.
    """
    numbers = stack_array(values, (32,))  # [GROUP]
    row = take(counters, 0)
    while row < values.shape[0]:
        for group in range(values.shape[1]):
            round_group(values, row, group, scales[row, group], minimums[row, group], numbers)
            mean_number, mean = ZERO, ZERO
            for k in range(GROUP):
                mean_number, mean = mean_number + numbers[k], mean + values[row, group, k]
            mean_number, mean = mean_number / GROUP_SIZE, mean / GROUP_SIZE
            variance, covariance = ZERO, ZERO
            for k in range(GROUP):
                apart = numbers[k] - mean_number
                variance, covariance = variance + apart * apart, covariance + apart * values[row, group, k]
            slope = covariance / (ONE if variance == ZERO else variance)
            slopes[row, group], offsets[row, group] = slope, mean - slope * mean_number
        row = done_take_next(counters, 0)
    wait(counters, 0, values.shape[0])


@kernel
def round_to_int4(values: Any, line: Any, fitted: Any, better: Any, pairs: Any, counters: Any) -> None:
    """Round groups `[out, groups, 32]` to the steps of two lines each, and keep what is better, as `Int4.of` does.

    Args:
        values: the weights.
        line, fitted: scales and minimums, `[out, groups]` each.
        better: whether the fitted line was taken, written, `[out, groups]`.
        pairs: the numbers, written, uint8 `[out, groups, 16]`: number k in the lower half of byte k, number k + 16 in
            the upper half.
        counters: see `sharing.py`.
    """
    first, second = stack_array(values, (32,)), stack_array(values, (32,))  # [GROUP]
    row = take(counters, 0)
    while row < values.shape[0]:
        for group in range(values.shape[1]):
            squares, _ = round_group(values, row, group, line[0][row, group], line[1][row, group], first)
            scale = fitted[0][row, group]
            fewer, worst = round_group(values, row, group, scale, fitted[1][row, group], second)
            better[row, group] = fewer < squares and worst <= scale / TWO
            for k in range(GROUP // 2):
                low, high = first[k], first[k + GROUP // 2]
                if better[row, group]:
                    low, high = second[k], second[k + GROUP // 2]
                pairs[row, group, k] = np.uint8(low) | np.uint8(high) << np.uint8(4)
        row = done_take_next(counters, 0)
    wait(counters, 0, values.shape[0])
