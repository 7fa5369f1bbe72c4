"""Products with quantised matrices are those with the dequantised ones; matrices are joined, and rows taken."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrices import FORMATS, INNER, matrices, quantised

from minillm import quantization
from minillm.backends import get_backend
from minillm.quantization import Int4, dequantize, join_rows, multiply, quantize, stack

BACKENDS = ["plain", "numpy", "exact"]
COMPILED = pytest.param("compiled", marks=pytest.mark.compiled)
COMPILED_SLOWLY = pytest.param("compiled", marks=[pytest.mark.compiled, pytest.mark.slow])  # kernels of float64


def backend_of_float64(name):
    ops = get_backend(name)
    ops.choose_dtype("float64")
    return ops


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


@given(data=st.data(), out=st.integers(1, 9), inner=st.sampled_from(INNER))
@pytest.mark.parametrize("backend", [*BACKENDS, COMPILED])
def test_a_matrix_prepared_in_tiles_is_that_prepared_whole(backend, data, out, inner):
    weights, rows = data.draw(st.sampled_from(["float32", *FORMATS])), data.draw(st.integers(1, 9))
    values, x = numbers(out, inner, dtype="float32"), numbers(2, inner, dtype="float32")
    matrix, ops = values if weights == "float32" else quantize(values, weights), get_backend(backend)
    tiles = [slice(first, first + rows) for first in range(0, out, rows)]
    prepared = ops.prepare_tiles(out, (matrix[t] if weights == "float32" else matrix.take(t) for t in tiles))
    # The last bits of BLAS's products depend on where in memory the matrix is.
    tolerance = 0 if backend in ("exact", "compiled") else 1e-5
    np.testing.assert_allclose(ops.linear(x, prepared), ops.linear(x, ops.prepare([matrix])), tolerance, tolerance)
    if backend != "exact":
        assert np.array_equal(ops.embed(ops.embedding_of(prepared), np.arange(out)), dequantize(matrix))


def test_tiles_with_minimums_of_two_types_are_joined():
    """A part of a Q4_0 matrix may have minimums that float16 cannot express."""
    small = quantize(numbers(2, 40), "int4")
    large = Int4(small.pairs, small.scales, small.minimums.astype(np.float32) * 1e6, small.inner)
    for tiles in ([small, large, small], [large, small]):
        joined = join_rows(2 * len(tiles), iter(tiles))
        assert np.array_equal(joined.dequantize(), np.concatenate([tile.dequantize() for tile in tiles]))


@given(matrix=quantised(), data=st.data())
def test_taken_rows_are_those_rows(matrix, data):
    out, whole = len(matrix.dequantize()), matrix.dequantize()
    tokens = np.array(data.draw(st.lists(st.integers(0, out - 1), max_size=6)), int)
    assert np.array_equal(matrix.take(tokens).dequantize(), whole[tokens])
    first = data.draw(st.integers(0, out - 1))
    assert np.array_equal(matrix.take(slice(first, out)).dequantize(), whole[first:])
    assert type(matrix.take(tokens)) is type(matrix) and matrix.take(tokens).columns == matrix.columns


@pytest.mark.parametrize("backend", [*BACKENDS, COMPILED_SLOWLY])
@given(data=st.data(), inner=st.sampled_from(INNER), rows=st.sampled_from([1, 2, 5, 13, 70]), biased=st.booleans())
def test_every_backend_multiplies_as_dequantised(backend, data, inner, rows, biased):
    ops, matrices, x = backend_of_float64(backend), data.draw(parts(inner)), numbers(rows, inner)
    joined = np.concatenate([dequantize(part) for part in matrices]).astype(float)
    bias = numbers(len(joined), seed=1) if biased else None
    found = ops.linear(x, ops.prepare(matrices), bias)
    expected = x @ joined.T + (0 if bias is None else bias)
    sizes = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(joined, axis=1) + np.abs(expected)
    tolerance = 1e-7 if backend == "exact" else 1e-12  # the exact backend rounds to its grids
    assert (np.abs(found - expected) <= tolerance * sizes).all()


@pytest.mark.parametrize("backend", [*BACKENDS, COMPILED_SLOWLY])
@given(matrix=quantised(), data=st.data())
def test_a_tied_embedding_is_both(backend, matrix, data):
    ops = backend_of_float64(backend)
    tokens = np.array(data.draw(st.lists(st.integers(0, matrix.shape[0] - 1), min_size=1)))
    head = ops.prepare([matrix])
    table = ops.prepare_embedding(matrix) if backend == "exact" else ops.embedding_of(head)
    whole = matrix.dequantize().astype(float)
    assert np.array_equal(ops.embed(table, tokens), whole[tokens])
    x = numbers(2, matrix.shape[1])
    sizes = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(whole, axis=1)
    assert (np.abs(ops.linear(x, head) - x @ whole.T) <= 1e-7 * sizes).all()


@pytest.mark.compiled
@given(data=st.data(), inner=st.sampled_from(INNER), rows=st.sampled_from([1, 2, 5, 13, 70]), biased=st.booleans())
def test_compiled_loops_multiply_with_the_stored_numbers(data, inner, rows, biased):
    """In float32: each weight is the float32 that `dequantize` gives, and each output one sum of rounded steps."""
    ops, matrices, x = get_backend("compiled"), data.draw(parts(inner)), numbers(rows, inner, dtype="float32")
    matrices = [part.astype(np.float32) if isinstance(part, np.ndarray) else part for part in matrices]
    joined = np.concatenate([dequantize(part) for part in matrices]).astype(float)
    bias = numbers(len(joined), seed=1, dtype="float32") if biased else None
    found = ops.linear(x, ops.prepare(matrices), bias)
    expected = x @ joined.T + (0 if bias is None else bias)
    sizes = np.abs(x) @ np.abs(joined).T + np.abs(expected)
    assert found.dtype == np.float32
    assert (np.abs(found - expected) <= np.finfo(np.float32).eps * (inner + 2) * sizes + 1e-42).all()


@pytest.mark.parametrize("backend", ["plain", "numpy"])
@pytest.mark.parametrize("weights", FORMATS)
def test_a_tied_embedding_is_stored_once(backend, weights):
    matrix = quantize(numbers(40, 32), weights)
    [head] = prepared = get_backend(backend).prepare([matrix])
    assert np.shares_memory(get_backend(backend).embedding_of(prepared).arrays()[0], head.arrays()[0])
