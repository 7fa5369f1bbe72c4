"""A matrix in tiles is the same matrix, for any number of rows and any sizes, on one thread or several."""

import os
import subprocess
import sys
import time
from functools import cache
from threading import Event, current_thread, main_thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.backends import fast, tiles
from minillm.backends import threads as shared
from minillm.backends.fast import Fast
from minillm.backends.plain import Plain
from minillm.backends.strips import NOT_COPIED, copies_nothing
from minillm.backends.tiles import MOST_ROWS, WIDTH, TiledWeight, tiling_pays

SIZES = st.sampled_from([1, 7, WIDTH - 1, WIDTH, WIDTH + 1, 3 * WIDTH, 16 * WIDTH + 5])
ROWS = st.sampled_from([0, 1, 2, 3, 8, 13, MOST_ROWS, MOST_ROWS + 1, 2 * MOST_ROWS])


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@given(rows=ROWS, inner=SIZES, out=SIZES)
def test_multiply(rows, inner, out):
    x, weight = numbers(rows, inner), numbers(out, inner, seed=1).T
    product = TiledWeight(weight).multiply(x)
    assert product.shape == (rows, out)
    np.testing.assert_allclose(product, x @ weight, atol=1e-11)


@pytest.mark.parametrize("inner", [NOT_COPIED // WIDTH // 5, NOT_COPIED // WIDTH + 1])
def test_groups_of_rows_that_do_not_divide_them(inner):
    """Five rows a group here, or one; 13 rows leave the last group part empty."""
    x, weight = numbers(13, inner), numbers(inner, WIDTH, seed=1)
    np.testing.assert_allclose(TiledWeight(weight).multiply(x), x @ weight, atol=1e-9)


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_threads_share_the_tiles(threads, monkeypatch):
    """This one waits until all have begun; the others are slow, so that what is not waited for is missing."""
    names, matmul = set(), np.matmul

    def slow_matmul(*arguments, **keywords):
        names.add(current_thread().name)
        if current_thread() is not main_thread():
            time.sleep(0.02)
        for _ in range(1000):
            if len(names) == int(threads):
                break
            time.sleep(0.01)
        return matmul(*arguments, **keywords)

    monkeypatch.setattr(tiles, "THREADED", 0)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", threads)
    monkeypatch.setattr(shared, "_waiting_threads", cache(shared._waiting_threads.__wrapped__))
    monkeypatch.setattr(np, "matmul", slow_matmul)
    x, weight = numbers(5, 9, seed=int(threads)), numbers(9, 40 * WIDTH, seed=9)
    product = TiledWeight(weight).multiply(x).copy()
    np.testing.assert_allclose(product, x @ weight, atol=1e-12)
    assert len(names) == int(threads)


def test_what_goes_wrong_in_another_thread_is_heard(monkeypatch):
    """And the threads are there for the next product."""
    matmul, heard = np.matmul, Event()

    def failing_matmul(*arguments, **keywords):
        if current_thread() is not main_thread():
            heard.set()
            raise MemoryError("no room")
        heard.wait(10)
        return matmul(*arguments, **keywords)

    monkeypatch.setattr(tiles, "THREADED", 0)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    monkeypatch.setattr(shared, "_waiting_threads", cache(shared._waiting_threads.__wrapped__))
    x, weight = numbers(5, 9), numbers(9, 40 * WIDTH, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(np, "matmul", failing_matmul)
        with pytest.raises(MemoryError, match="no room"):
            TiledWeight(weight).multiply(x)
    np.testing.assert_allclose(TiledWeight(weight).multiply(x), x @ weight, atol=1e-12)


def test_threads_work_in_a_child_process_too():
    """A fork has none of its parent's threads."""
    code = (
        "import os; import numpy as np; from minillm.backends import tiles\n"
        "tiles.THREADED = 0; weights = tiles.TiledWeight(np.ones((8, 256))); weights.multiply(np.ones((2, 8)))\n"
        "child = os.fork()\n"
        "if not child: os._exit(int(weights.multiply(np.ones((2, 8)))[0, 0]))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "8\n", done.stderr


@given(vocab=SIZES, dim=SIZES)
def test_columns_are_the_rows_of_a_tied_embedding(vocab, dim):
    embedding = numbers(vocab, dim)
    chosen = np.random.default_rng(2).integers(0, vocab, 9)
    assert np.array_equal(TiledWeight(embedding.T).columns(chosen), embedding[chosen])


@pytest.mark.parametrize("paying", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 3, 9, 100])
def test_the_fast_backend_with_and_without_tiles(paying, rows, monkeypatch):
    monkeypatch.setattr(fast, "tiling_pays", lambda: paying)
    ours, plain = Fast(), Plain()
    embedding, x = numbers(70, 12).astype(np.float32), numbers(rows, 12, seed=1).astype(np.float32)
    (table, head), bias = ours.tie(embedding), numbers(70, seed=2).astype(np.float32)
    assert isinstance(head, TiledWeight) == paying
    chosen = np.array([69, 0, 3])
    assert np.array_equal(ours.embed(table, chosen), plain.embed(embedding, chosen))
    product = ours.linear(x, head, bias)
    assert product.dtype == np.float32
    np.testing.assert_allclose(product, plain.linear(x, plain.prepare([embedding]), bias), atol=1e-5)


def test_a_wider_type_has_no_kernel_for_tiles(monkeypatch):
    monkeypatch.setattr(fast, "tiling_pays", lambda: True)
    assert isinstance(Fast().prepare([numbers(3, 4).T]), np.ndarray)


@pytest.mark.parametrize(
    "found, pay",
    [(["X86_V3"], False), (["X86_V3", "X86_V4", "AVX512_ICL"], True), (["AVX512_SKX"], True),
     (["X86_V3", "X86_V4", "AVX512_ICL", "AVX512_SPR"], False), (["NEON", "ASIMD"], False)],
)  # fmt: skip
def test_which_processors_gain(found, pay, monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": {"baseline": [], "found": found}})
    monkeypatch.setattr(tiles, "copies_nothing", copies_nothing.__wrapped__)
    assert tiling_pays.__wrapped__() == pay
