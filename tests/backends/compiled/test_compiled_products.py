"""Products with weights in tiles equal `x @ dequantize(w).T`, and a row has the same bits alone and in company."""

import numpy as np
import pytest
from several_threads import on_three_threads

from minillm.quantization import Float16, Int4, dequantize, quantize

pytest.importorskip("numba")
from minillm.backends.compiled.packed import pack
from minillm.backends.compiled.product import product
from minillm.backends.compiled.rows import embed
from minillm.backends.compiled.sharing import new_counters

NO_BIAS, NO_RESIDUAL = np.empty(0, np.float32), np.empty((0, 0), np.float32)
# Compiling takes some seconds for each format, once for a machine.
FORMATS = ("float32", "int8", "int4", *(pytest.param(name, marks=pytest.mark.slow) for name in ("float16", "bfloat16")))


def matrix(weights, out, inner, seed=0):
    values = (np.random.default_rng(seed).standard_normal((out, inner)) / np.sqrt(inner)).astype(np.float32)
    if weights == "float32":
        return values
    return Float16(values.astype(np.float16)) if weights == "float16" else quantize(values, weights)


def rows(count, inner, seed=1):
    return np.random.default_rng(seed).standard_normal((count, inner)).astype(np.float32)


def multiply(x, packed, bias=NO_BIAS, residual=NO_RESIDUAL, threads=True):
    out = np.empty((len(x), packed.shape[0]), x.dtype)
    args = (x, *packed[:3], bias.astype(x.dtype), residual.astype(x.dtype), out, new_counters())
    on_three_threads(product, *args) if threads else product(*args)
    return out


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("out, inner", [(64, 96), (37, 20), (32, 300), (1, 1), (70, 33)])
def test_product_equals_dequantised_product(weights, out, inner):
    w, x = matrix(weights, out, inner), rows(7, inner)
    expected = x.astype(np.float64) @ dequantize(w).astype(np.float64).T
    for some in (x[:1], x):
        np.testing.assert_allclose(multiply(some, pack([w])), expected[: len(some)], atol=2e-6 * np.sqrt(inner))


@pytest.mark.parametrize("weights", FORMATS)
def test_a_row_has_the_same_bits_alone_and_next_to_any_others(weights):
    packed, x = pack([matrix(weights, 70, 203)]), rows(70, 203)
    alone = np.concatenate([multiply(x[i : i + 1], packed, threads=False) for i in range(len(x))])
    for count in range(1, len(x) + 1):
        np.testing.assert_array_equal(multiply(x[:count], packed), alone[:count])
        np.testing.assert_array_equal(multiply(x[-count:], packed, threads=False), alone[-count:])


def test_rows_of_several_items_have_the_same_bits():
    """600 rows are four items of 150. Here they are compared with six calls of one item each."""
    packed, x, residual = pack([matrix("int8", 40, 64)]), rows(600, 64), rows(600, 40, seed=2)
    pieces = [slice(start, start + 100) for start in range(0, 600, 100)]
    alone = [multiply(x[piece], packed, residual=residual[piece], threads=False) for piece in pieces]
    np.testing.assert_array_equal(multiply(x, packed, residual=residual), np.concatenate(alone))


@pytest.mark.parametrize("count", [1, 3])
def test_bias_and_residual_are_added_last_and_out_may_be_the_residual(count):
    packed, x, bias = pack([matrix("float32", 37, 20)]), rows(count, 20), rows(1, 37)[0]
    residual = rows(count, 37, seed=2)
    expected = residual + (multiply(x, packed) + bias)
    out = residual.copy()
    product(x, *packed[:3], bias, out, out, new_counters())
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(multiply(x, packed, bias=bias), multiply(x, packed) + bias)


@pytest.mark.slow
def test_float64_is_computed_in_float64():
    w, x = matrix("float32", 37, 20).astype(np.float64), rows(3, 20).astype(np.float64)
    np.testing.assert_allclose(multiply(x, pack([w])), x @ w.T, atol=1e-14)


@pytest.mark.parametrize("weights", FORMATS)
def test_parts_are_packed_one_below_the_other_and_embedding_rows_equal_dequantised_rows(weights):
    parts = [matrix(weights, out, 52, seed=out) for out in (13, 32, 24, 3)]
    values = np.concatenate([dequantize(part) for part in parts])
    tokens, out = np.array([71, 0, 12, 13, 44, 45]), np.empty((6, 52), np.float32)
    embed(tokens, *pack(parts)[:3], out, new_counters())
    np.testing.assert_array_equal(out, values[tokens])


def test_minimums_that_need_float32_stay_float32():
    w = matrix("int4", 33, 70)
    wide = Int4(w.pairs, w.scales, w.minimums.astype(np.float32) * np.float32(1.0001), w.inner)
    tokens, out = np.arange(33), np.empty((33, 70), np.float32)
    embed(tokens, *pack([wide])[:3], out, new_counters())
    np.testing.assert_array_equal(out, wide.dequantize())
