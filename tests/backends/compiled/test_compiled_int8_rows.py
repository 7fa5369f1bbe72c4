"""Rows in 8 bits have the bits of their twins in `kv_cache/int8.py`."""

import numpy as np
import pytest

pytest.importorskip("numba")

from minillm.backends.compiled.int8_rows import read_int8, write_int8
from minillm.kv_cache.int8 import dequantize, quantize

TINY = np.array([1, -0.5, 0.9, 0.1] * 5) * 2.5e-43  # a 127th is 1.4 times float32's smallest number, the scale


def rows_of(dtype):
    rng = np.random.default_rng(0)
    ordinary = rng.standard_normal((60, 20)) * 10.0 ** rng.integers(-44, 38, (60, 1))
    ordinary[3, 5], ordinary[4, 6], ordinary[5] = np.nan, np.inf, 0
    halves = np.arange(20) - 9.5
    halves[0] = 127  # scale 1: numbers in the middle between two integers
    with np.errstate(over="ignore"):
        return np.vstack([ordinary, halves, TINY]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_rounded_and_read_as_by_the_twin(dtype):
    rows = rows_of(dtype)
    expected_numbers, expected_scales = quantize(rows)
    numbers, scales = np.empty((64, 20), np.int8), np.empty(64, np.float32)
    for slot, row in enumerate(rows):
        write_int8(row, numbers, scales, slot)
    np.testing.assert_array_equal(scales[:62], expected_scales)
    np.testing.assert_array_equal(numbers[:62], expected_numbers)
    read, slots = np.empty((64, 20), dtype), np.arange(64)[::-1].copy()
    slots[:4] = 0
    read_int8(numbers, scales, slots, 64, read)
    np.testing.assert_array_equal(read[4:], dequantize(numbers, scales, dtype)[::-1][4:])
