"""Products with quantised matrices are those with the dequantised ones; matrices are joined, and rows taken."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrices import FORMATS, INNER, matrices, quantised

from minillm import quantization
from minillm.backends import get_backend
from minillm.quantization import Int4, dequantize, multiply, quantize, stack

BACKENDS = ["plain", "numpy", "exact"]


def numbers(*shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@st.composite
def parts(draw, inner: int):
    """Matrices of one input: q, k, v or gate, up; quantised in any formats, or not at all."""
    return draw(st.lists(quantised(inner) | matrices(inner, "float64"), min_size=1, max_size=3))


@given(
    data=st.data(), inner=st.sampled_from(INNER), rows=st.integers(1, 5), dtype=st.sampled_from(["float32", "float64"])
)
def test_multiply_is_dequantise_then_multiply(data, inner, rows, dtype):
    matrices, x = data.draw(parts(inner)), numbers(rows, inner, dtype=dtype)
    expected = x.astype(float) @ np.concatenate([dequantize(part) for part in matrices]).astype(float).T
    found = multiply(x, stack(matrices))
    assert found.dtype == dtype
    sizes = np.abs(x) @ np.abs(np.concatenate([dequantize(part) for part in matrices])).T
    assert (np.abs(found - expected) <= np.finfo(dtype).eps * 2 * inner * sizes + 1e-42).all()


@pytest.mark.parametrize("weights", FORMATS)
def test_a_tile_at_a_time(weights, monkeypatch):
    """Tiles of three rows give what one tile gives, and no tile is larger."""
    matrix, x = quantize(numbers(20, 50, dtype="float32"), weights), numbers(4, 50)
    whole = multiply(x, [matrix])
    monkeypatch.setattr(quantization, "TILE_BYTES", 3 * 4 * 50)
    tiles = quantization.all_tiles([matrix])
    assert [tile.shape for tile in tiles] == [(3, 50)] * 6 + [(2, 50)]
    assert all(np.shares_memory(tile.arrays()[0], matrix.arrays()[0]) for tile in tiles)
    np.testing.assert_allclose(multiply(x, [matrix]), whole, rtol=1e-13)
    assert multiply(x, [matrix]).shape == (4, 20)


@given(data=st.data(), inner=st.sampled_from(INNER))
def test_stacked_parts_have_the_same_rows(data, inner):
    matrices = data.draw(parts(inner))
    stacked = stack(matrices)
    names = [type(matrix) for matrix in stacked]
    assert all(one is not other for one, other in pairwise(names))  # neighbours were joined
    expected = np.concatenate([dequantize(part) for part in matrices])
    assert np.array_equal(np.concatenate([dequantize(matrix) for matrix in stacked]), expected)


def test_minimums_of_two_types_are_joined():
    """A Q4_0 matrix may have minimums in float32."""
    one = quantize(numbers(2, 40), "int4")
    other = Int4(one.pairs, one.scales, one.minimums.astype(np.float32) * 1e6, one.inner)
    [joined] = stack([one, other])
    assert joined.minimums.dtype == np.float32
    assert np.array_equal(joined.dequantize(), np.concatenate([one.dequantize(), other.dequantize()]))


@given(matrix=quantised(), data=st.data())
def test_taken_rows_are_those_rows(matrix, data):
    out, whole = len(matrix.dequantize()), matrix.dequantize()
    tokens = np.array(data.draw(st.lists(st.integers(0, out - 1), max_size=6)), int)
    assert np.array_equal(matrix.take(tokens).dequantize(), whole[tokens])
    first = data.draw(st.integers(0, out - 1))
    assert np.array_equal(matrix.take(slice(first, out)).dequantize(), whole[first:])
    assert type(matrix.take(tokens)) is type(matrix) and matrix.take(tokens).columns == matrix.columns


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data(), inner=st.sampled_from(INNER), rows=st.sampled_from([1, 2, 5, 13, 70]), biased=st.booleans())
def test_every_backend_multiplies_as_dequantised(backend, data, inner, rows, biased):
    ops, matrices, x = get_backend(backend), data.draw(parts(inner)), numbers(rows, inner)
    joined = np.concatenate([dequantize(part) for part in matrices]).astype(float)
    bias = numbers(len(joined), seed=1) if biased else None
    found = ops.linear(x, ops.prepare(matrices), bias)
    expected = x @ joined.T + (0 if bias is None else bias)
    sizes = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(joined, axis=1) + np.abs(expected)
    tolerance = 1e-7 if backend == "exact" else 1e-12  # the exact backend rounds to its grids
    assert (np.abs(found - expected) <= tolerance * sizes).all()


@pytest.mark.parametrize("backend", BACKENDS)
@given(matrix=quantised(), data=st.data())
def test_a_tied_embedding_is_both(backend, matrix, data):
    ops, tokens = get_backend(backend), np.array(data.draw(st.lists(st.integers(0, matrix.shape[0] - 1), min_size=1)))
    table, head = ops.tie(matrix)
    whole = matrix.dequantize().astype(float)
    assert np.array_equal(ops.embed(table, tokens), whole[tokens])
    x = numbers(2, matrix.shape[1])
    sizes = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(whole, axis=1)
    assert (np.abs(ops.linear(x, head) - x @ whole.T) <= 1e-7 * sizes).all()


@pytest.mark.parametrize("backend", ["plain", "numpy"])
@pytest.mark.parametrize("weights", FORMATS)
def test_a_tied_embedding_is_stored_once(backend, weights):
    matrix = quantize(numbers(40, 32), weights)
    table, [head] = get_backend(backend).tie(matrix)
    assert np.shares_memory(table.arrays()[0], head.arrays()[0])
