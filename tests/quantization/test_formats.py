"""Each format: what a weight loses by its rounding, what is exact, what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrices import FORMATS, INNER, matrices

from minillm.quantization import BYTES_PER_WEIGHT, GROUP, Bfloat16, Float16, Int4, Int8, quantize
from minillm.quantization.bfloat16 import widen
from minillm.quantization.int4 import pack

FLOAT32 = 2.0**-24  # the largest relative error of rounding to float32


def by_weight(scales, inner):
    """The scale of each weight's group, `[out, inner]`, in float64."""
    return np.repeat(scales.astype(float), GROUP, axis=1)[:, :inner]


def assert_within_half_a_step(values, matrix):
    """Of the exact sum of number and scale; float32, in which it is given, may round it once more."""
    found = matrix.dequantize()
    assert found.dtype == np.float32 and found.shape == values.shape == matrix.shape
    step = by_weight(matrix.scales, values.shape[1])
    rounding = FLOAT32 * (2 * np.abs(values) + 20 * step)
    assert (np.abs(found - values.astype(float)) <= step / 2 + rounding).all()


@given(values=matrices(), dtype=st.sampled_from(["float32", "float64"]))
def test_int8_is_within_half_a_step(values, dtype):
    matrix = quantize(values.astype(dtype), "int8")
    assert_within_half_a_step(values, matrix)
    assert matrix.numbers.min() >= -127
    largest = np.abs(values).max()
    assert matrix.scales.max() <= max(largest / 127 * (1 + 2**-11), 2.0**-24)


@pytest.mark.parametrize("steps", [127.4, 127.8, 128.1, 190.0])
def test_int8_is_within_half_a_step_where_float16_has_few_scales(steps):
    """The weight is so many times float16's smallest number; 127 of them fall short of all but the first."""
    weight = np.array([[steps * 2.0**-24]], np.float32)
    assert_within_half_a_step(weight, Int8.of(weight))


@pytest.mark.parametrize("weights", ["bfloat16", "int8", "int4"])
@pytest.mark.parametrize("shape", [(0, 5), (0, 64), (0, 0)])
def test_a_matrix_without_rows_keeps_its_shape(weights, shape):
    matrix = quantize(np.zeros(shape), weights)
    assert matrix.shape == matrix.dequantize().shape == shape


@given(values=matrices(), dtype=st.sampled_from(["float32", "float64"]))
def test_int4_is_within_half_a_step(values, dtype):
    matrix = quantize(values.astype(dtype), "int4")
    assert_within_half_a_step(values, matrix)
    step, minimums = (by_weight(array, values.shape[1]) for array in (matrix.scales, matrix.minimums))
    assert (minimums - step / 2 <= values + FLOAT32 * np.abs(values)).all()


@given(values=matrices())
def test_int4_has_small_steps(values):
    """About a fifteenth of a group's span; a fitted line may be half a step short of it at each end, so a thirteenth.

    The span grows by the rounding of the minimum, and float16 has a smallest step.
    """
    matrix = quantize(values, "int4")
    for row, scales in zip(values, matrix.scales, strict=True):
        for group, scale in zip(np.array_split(row, range(GROUP, len(row), GROUP)), scales, strict=True):
            span = float(np.ptp(group)) + np.abs(group).max() * 2.0**-10 + 2.0**-24
            assert scale <= span / 13 * (1 + 2.0**-10) + 2.0**-24


@given(values=matrices())
def test_bfloat16_is_the_nearest(values):
    """Within half of the distance to the next bfloat16, whose bits are one more."""
    found = quantize(values, "bfloat16").dequantize()
    bits = np.abs(found).view(np.uint32) >> 16
    above = widen((bits + 1).astype(np.uint16)).astype(float)
    below = np.where(bits == 0, -above, widen(np.maximum(bits, 1).astype(np.uint16) - np.uint16(1)).astype(float))
    error = np.abs(np.abs(values.astype(float)) - np.abs(found))
    assert (error <= np.maximum(above - np.abs(found), np.abs(found) - below) / 2).all()
    assert (np.sign(found) * np.sign(values) >= 0).all()


@given(bits=st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=50))
def test_bfloat16_of_bfloat16_is_exact(bits):
    bits = np.array([bits], np.uint16)
    bits = bits[np.isfinite(widen(bits))][None]
    assert np.array_equal(quantize(widen(bits), "bfloat16").bits, bits)


@given(bits=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50), tie=st.booleans())
def test_bfloat16_rounds_as_integers_say(bits, tie):
    """The nearest upper half, and of two equally near the even one: the rule of IEEE 754, in Python's integers."""
    bits = [(n & 0xFFFF0000 | 0x8000) if tie else n for n in bits]
    bits = np.array([n for n in bits if n & 0x7F800000 < 0x7F000000], np.uint32)  # finite, and not next to the largest
    expected = [(n + (0 if n & 0xFFFF < 0x8000 or n & 0x1FFFF == 0x8000 else 0x10000)) >> 16 for n in bits.tolist()]
    assert quantize(bits.view(np.float32)[None], "bfloat16").bits[0].tolist() == expected


def test_float16_is_what_a_file_stores():
    values = np.array([[1.0, -2.5, 65504, 6e-8]], np.float16)
    assert np.array_equal(Float16(values).dequantize(), values.astype(np.float32))


@given(numbers=st.lists(st.integers(-127, 127), min_size=GROUP - 1, max_size=GROUP - 1), bits=st.integers(1, 0x77FF))
def test_int8_of_int8_is_exact(numbers, bits):
    """Any scale of float16, if a group uses the number 127 or -127, as groups do."""
    matrix = Int8(np.array([[127, *numbers]], np.int8), np.array([[bits]], np.uint16).view(np.float16))
    again = quantize(matrix.dequantize(), "int8")
    assert np.array_equal(again.numbers, matrix.numbers) and np.array_equal(again.scales, matrix.scales)


@given(
    numbers=st.lists(st.integers(0, 15), min_size=GROUP - 2, max_size=GROUP - 2),
    scale=st.floats(2.0**-10, 1.0, width=16),
    minimum=st.floats(-20, 20, width=16),
)
def test_int4_of_int4_is_exact(numbers, scale, minimum):
    """If a group uses the numbers 0 and 15, as groups do. So a Q4_1 file that was saved as float32 is not lost."""
    pairs = pack(np.array([[[0, 15, *numbers]]], np.uint8))
    matrix = Int4(pairs, *(np.array([[value]], np.float16) for value in (scale, minimum)), GROUP)
    again = quantize(matrix.dequantize(), "int4")
    assert all(map(np.array_equal, again.arrays(), matrix.arrays()))


def from_lowest_to_highest(values):
    """int4 with the line from the smallest weight of a group to the largest, which is not fitted."""
    groups = values.reshape(len(values), -1, GROUP)
    lowest = groups.min(axis=-1, keepdims=True)
    scales = (groups.max(axis=-1, keepdims=True) - lowest) / 15
    return (np.rint((groups - lowest) / scales) * scales + lowest).reshape(values.shape)


@pytest.mark.parametrize("seed", range(3))
def test_a_fitted_line_is_closer_than_one_from_the_lowest_weight_to_the_highest(seed):
    values = np.random.default_rng(seed).normal(size=(64, 256)).astype(np.float32)
    fitted = np.square(quantize(values, "int4").dequantize() - values).mean()
    assert fitted < 0.93 * np.square(from_lowest_to_highest(values) - values).mean()


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("inner", INNER)
def test_zeros_are_exact(weights, inner):
    assert not quantize(np.zeros((3, inner), np.float32), weights).dequantize().any()


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_a_group_does_not_change_another(weights):
    values = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    alone = quantize(values[:, GROUP:], weights).dequantize()
    values[:, :GROUP] *= 10_000
    assert np.array_equal(quantize(values, weights).dequantize()[:, GROUP:], alone)


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_a_number_is_refused(weights, bad, dtype):
    values = np.ones((3, 40), dtype)
    values[2, 39] = bad
    with pytest.raises(ValueError, match=r"^a weight is infinite or not a number, so it cannot be quantised$"):
        quantize(values, weights)


@pytest.mark.parametrize(
    ("weights", "value", "expected"),
    [
        ("int8", 1e7, "too large for a float16 scale"),
        ("int4", 1e6, "too large for a float16 scale"),
        ("int4", -65_520, "too large for a float16 scale"),
        ("int4", -65_505, "too large for a float16 scale"),  # the next float16 below is infinite
        ("bfloat16", np.finfo(np.float32).max, "infinite"),
        ("bfloat16", 1e300, "infinite"),
    ],
)
def test_what_a_format_cannot_express_is_refused(weights, value, expected):
    with pytest.raises(ValueError, match=expected):
        quantize(np.array([[value, 1.0]]), weights)


@pytest.mark.parametrize(
    ("weights", "value"), [("int8", 8.3e6), ("int4", 9.8e5), ("int4", -65_504), ("bfloat16", 3e38)]
)
def test_nearly_as_large_is_expressed(weights, value):
    found = quantize(np.array([[value] * (GROUP - 1) + [0.0, 1.0]]), weights).dequantize()
    assert found[0, 0] == pytest.approx(value, rel=2**-8) and found[0, -1] == pytest.approx(1.0, rel=2**-8)


@pytest.mark.parametrize("weights", FORMATS)
def test_a_weight_takes_the_bytes_of_the_table(weights):
    matrix = quantize(np.ones((5, 96), np.float32), weights)
    assert matrix.nbytes == 5 * 96 * BYTES_PER_WEIGHT[weights]
    assert matrix.name == weights and matrix.shape == (5, 96)


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("inner", [1, 33, 64])
def test_nothing_is_stored_for_a_group_that_is_not_full(weights, inner):
    """An array is not a view of a larger one."""
    for array in quantize(np.ones((2, inner)), weights).arrays():
        assert array.base is None or array.base.nbytes == array.nbytes


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match=r"^weights is 'int9'; expected one of bfloat16, int8, int4$"):
        quantize(np.ones((1, 1)), "int9")


@given(values=matrices(), weights=st.sampled_from(FORMATS))
def test_tile_by_tile_is_all_at_once(values, weights):
    tall = np.concatenate([values * factor for factor in (1, 0.5, 0.25)])  # at least three rows
    of = {"bfloat16": Bfloat16, "int8": Int8, "int4": Int4}[weights].of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minillm.quantization.TILE_BYTES", 2 * 4 * tall.shape[1])  # two rows
        in_tiles = quantize(tall, weights)
    assert all(map(np.array_equal, in_tiles.arrays(), of(tall).arrays()))
