"""A product in strips is the same product, for matrices in either order, on any number of threads."""

import os
import subprocess
import sys
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.backends import fast, strips
from minillm.backends.fast import STRIP_ROWS, Fast
from minillm.backends.plain import Plain
from minillm.backends.strips import INPUTS, NOT_COPIED, OUTPUTS, copies_nothing, fits_in_strips, multiply_in_strips

ROWS = st.integers(1, STRIP_ROWS.stop)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


class Watched(np.ndarray):
    """Notes the multiplications of each product of two matrices that it takes part in."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **keywords):
        plain = [np.asarray(array) for array in inputs]
        if ufunc is np.matmul:
            sizes.append(plain[0].shape[-2] * plain[0].shape[-1] * plain[1].shape[-1])
        result = getattr(ufunc, method)(*plain, out=tuple(np.asarray(array) for array in out) or None, **keywords)
        return result.view(Watched)


sizes = []


@given(rows=ROWS, strips_of_inputs=st.integers(1, 7), out=st.integers(1, 70), threads=st.integers(1, 3))
def test_a_matrix_row_by_row(rows, strips_of_inputs, out, threads):
    x, weight = numbers(rows, strips_of_inputs * INPUTS), numbers(strips_of_inputs * INPUTS, out, seed=1)
    assert fits_in_strips(rows, weight)
    with patch.object(strips, "THREADED", 0), patch.object(strips, "thread_count", lambda: threads):
        np.testing.assert_allclose(multiply_in_strips(x, weight), x @ weight, atol=1e-11)


@given(rows=ROWS, inner=st.integers(2, 70), strips_of_outputs=st.integers(1, 7), threads=st.integers(1, 3))
def test_a_matrix_in_the_order_of_files(rows, inner, strips_of_outputs, threads):
    x, weight = numbers(rows, inner), numbers(strips_of_outputs * OUTPUTS, inner, seed=1).T
    assert fits_in_strips(rows, weight)
    with patch.object(strips, "THREADED", 0), patch.object(strips, "thread_count", lambda: threads):
        np.testing.assert_allclose(multiply_in_strips(x, weight), x @ weight, atol=1e-11)


@pytest.mark.parametrize("rows", [STRIP_ROWS.start, STRIP_ROWS.stop - 1])
@pytest.mark.parametrize("inner, out", [(576, 49_152), (576, 3072), (1536, 576), (96, 18_229)])
def test_no_product_is_so_large_that_openblas_would_copy_the_matrix(rows, inner, out):
    sizes.clear()
    order = "C" if out > inner else "F"
    weight = np.ones((inner, out), np.float32, order=order)
    x = numbers(rows, inner).astype(np.float32).view(Watched)
    assert fits_in_strips(rows, weight)
    product = multiply_in_strips(x, weight)
    assert sizes and max(sizes) <= NOT_COPIED
    np.testing.assert_allclose(product, np.broadcast_to(np.asarray(x).sum(1, keepdims=True), (rows, out)), rtol=1e-3)


@pytest.mark.parametrize("out, ranges, threads", [(64, 1, 1), (4096, 2, 2)])
def test_large_products_are_split_over_threads_and_small_ones_are_not(out, ranges, threads):
    counts = []

    def run_tasks(work, count):
        counts.append(count)
        for number in range(count):
            work(number)

    with patch.object(strips, "thread_count", lambda: 2), patch.object(strips, "run_tasks", run_tasks):
        multiply_in_strips(numbers(8, 96), numbers(96, out))
        multiply_in_strips(numbers(8, 96), numbers(out, 96).T)
    assert counts == [ranges * threads, threads]


def test_what_does_not_fit():
    assert not fits_in_strips(4, numbers(INPUTS + 1, 40))  # strips would not be whole
    assert not fits_in_strips(4, numbers(OUTPUTS + 1, 40).T)
    long = NOT_COPIED // OUTPUTS // 8
    assert fits_in_strips(8, np.empty((OUTPUTS, long)).T)
    assert not fits_in_strips(8, np.empty((OUTPUTS, long + 1)).T)  # even one strip would be copied
    assert not fits_in_strips(4, np.empty((2 * INPUTS, 4 * OUTPUTS))[::2, ::2])  # does not lie together


@pytest.mark.parametrize("has_kernels", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 4, 8, STRIP_ROWS.stop - 1, STRIP_ROWS.stop])
def test_the_fast_backend_uses_them_for_a_few_rows(rows, has_kernels):
    used = []

    def watched(x, weight):
        used.append(len(x))
        return multiply_in_strips(x, weight)

    x, weight, bias = numbers(rows, INPUTS), numbers(2 * INPUTS, INPUTS, seed=1).T, numbers(2 * INPUTS, seed=2)
    with (
        patch.object(fast, "copies_nothing", lambda: has_kernels),
        patch.object(fast, "multiply_in_strips", watched),
    ):
        product = Fast().linear(x, Fast().prepare([weight.T]), bias)
    np.testing.assert_allclose(product, Plain().linear(x, weight, bias), atol=1e-12)
    assert used == ([rows] if has_kernels and 4 <= rows <= 12 else [])


@pytest.mark.parametrize(
    "found, has_kernels",
    [(["X86_V3"], False), (["X86_V3", "X86_V4", "AVX512_ICL", "AVX512_SPR"], True), (["AVX512_SKX"], True),
     (["NEON", "ASIMD"], False)],
)  # fmt: skip
def test_which_processors_have_the_kernels(found, has_kernels, monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": {"baseline": [], "found": found}})
    assert copies_nothing.__wrapped__() == has_kernels


def test_numpy_without_avx512_is_believed():
    """If it is told to run without, neither kernels nor tiles are used, on any processor."""
    code = "import sys; from minillm.backends import strips, tiles; exit(strips.copies_nothing() + tiles.tiling_pays())"
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    without = {"NPY_DISABLE_CPU_FEATURES": " ".join(found)}
    environment = {**os.environ, **without, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment).returncode == 0
