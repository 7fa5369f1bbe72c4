"""Rounding when a model is loaded: the compiled loops give the bits of `minillm/quantization`."""

import numpy as np
import pytest

pytest.importorskip("numba")

from minillm.backends.compiled.backend import Compiled
from minillm.loading.load import load
from minillm.quantization import FORMATS, GROUP, quantize

FORMATS = [name for name in FORMATS if name != "float32"]
SHAPES = [(1, 1), (5, 7), (1, 40), (2, 32), (3, 100), (64, 576), (700, 800)]  # the last is shared by threads


def rounded(values, weights):
    return Compiled().quantize(values, weights)


def assert_same(found, expected):
    assert type(found) is type(expected) and found.shape == expected.shape
    for one, other in zip(found.arrays(), expected.arrays(), strict=True):
        assert one.dtype == other.dtype and np.array_equal(one, other)


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scale", [1e-9, 1e-6, 0.02, 60.0])  # float16 has few bits left for the smallest scales
def test_the_bits_are_those_of_numpy(weights, shape, scale):
    values = (np.random.default_rng(0).normal(size=shape) * scale).astype(np.float32)
    values[0, :5] = 0
    values[-1, GROUP:] = 0  # a group of zeros
    assert_same(rounded(values, weights), quantize(values, weights))


def test_numpy_adds_up_a_single_group_in_another_order():
    """So it is left to NumPy. With this seed the kernels would fit a line that differs in its last bit."""
    values = np.random.default_rng(689).standard_normal((1, GROUP)).astype(np.float32)
    assert_same(rounded(values, "int4"), quantize(values, "int4"))


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_and_columns_of_a_wider_matrix(weights, dtype):
    values = np.random.default_rng(0).normal(size=(9, 200)).astype(dtype)
    assert_same(rounded(values[:, 3:99], weights), quantize(values[:, 3:99], weights))


@pytest.mark.parametrize("weights", FORMATS)
def test_numbers_half_way_between_two_steps(weights):
    """Of two that are equally near, the even one; in bfloat16 the steps near 1 are 2**-7."""
    halves = np.arange(-127, 128, dtype=np.float32).repeat(GROUP).reshape(5, -1) / 2
    values = 1 + halves * 2.0**-7 if weights == "bfloat16" else halves
    values[:, ::GROUP] = 127 if weights == "int8" else values[:, ::GROUP]  # so that the step is 1
    assert_same(rounded(values, weights), quantize(values, weights))


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, np.finfo(np.float32).max, -65_505.0, 1e7])
@pytest.mark.parametrize("place", [(0, 0), (2, 33), (3, 69)])
def test_what_numpy_refuses_is_refused(weights, bad, place):
    values = np.ones((4, 70), np.float32)
    values[place] = bad
    try:
        expected = quantize(values, weights)
    except ValueError as problem:
        with pytest.raises(ValueError) as refused:
            rounded(values, weights)
        assert str(refused.value) == str(problem)
    else:
        assert_same(rounded(values, weights), expected)


def test_a_format_that_does_not_exist():
    with pytest.raises(ValueError, match=r"^weights is 'int3'; expected one of bfloat16, int8, int4$"):
        rounded(np.ones((2, 64), np.float32), "int3")


def test_a_model_is_loaded_with_these_loops(monkeypatch):
    asked = set()
    quantize_ = Compiled.quantize
    monkeypatch.setattr(Compiled, "quantize", lambda *args: asked.add(args[2]) or quantize_(*args))
    load("story-draft", "compiled", weights="int4")
    assert asked == {"int4", "int8"}  # the embedding is in int8
