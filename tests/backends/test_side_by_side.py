"""A forward pass whose rows are divided among threads: the same logits, for any lengths, caches and threads."""

from functools import cache
from threading import Barrier, Thread, current_thread, main_thread

import numpy as np
import pytest
from engine_adapter import EngineAdapter, PagedAdapter
from hypothesis import given
from hypothesis import strategies as st
from random_models import CONTEXT, cache_dtypes, models, random_model
from unchecked import run_unchecked

import minillm
from minillm.backends import side_by_side, threads
from minillm.backends.blas_threads import blas_libraries
from minillm.backends.exact import Exact
from minillm.backends.fast import Fast
from minillm.backends.side_by_side import ChunkCache, Written, divide
from minillm.ragged_batch import ragged_batch
from minillm.training.parameters import llama_config


@pytest.fixture(params=[2, 3])
def shared(monkeypatch, request):
    """Every forward pass runs on 2 or 3 threads, however few rows it has."""
    monkeypatch.setattr(side_by_side, "ROWS_EACH", 0)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", str(request.param))
    monkeypatch.setattr(threads, "_waiting_threads", cache(threads._waiting_threads.__wrapped__))
    return request.param


@st.composite
def batches(draw):
    """A model, and for each sequence what its cache holds, its new tokens and how many of its rows get logits."""
    model = draw(models(("numpy", "exact")))
    tokens = st.lists(st.integers(0, model.config.vocab_size - 1), max_size=30)
    sequences = draw(st.lists(st.tuples(tokens, tokens.filter(bool)), min_size=1, max_size=5))
    wanted = [draw(st.integers(0, len(new))) for _, new in sequences]
    paged = draw(st.booleans())
    dtype = draw(cache_dtypes(model))
    if paged:
        engine = PagedAdapter(model, dtype, draw(st.integers(1, 9)), [True, False] * 20)
    else:
        engine = EngineAdapter(model, dtype)
    return engine, sequences, wanted


def outcome(engine, sequences, wanted):
    """The logits of the batch, and what a next token gives, for which the caches have to hold the right keys."""
    caches = [engine.new_cache(CONTEXT) for _ in sequences]
    for (held, _), own in zip(sequences, caches, strict=True):
        if held:
            engine.batch([(held, own)])
    pairs = [(new, own) for (_, new), own in zip(sequences, caches, strict=True)]
    logits = minillm.forward_batch(engine.model, pairs, wanted)
    after = [engine.decode(1, own) for own in caches]
    for own in caches:
        own.truncate(0)
    return np.concatenate([logits, after])


def test_divided_rows_give_the_same_logits(shared, monkeypatch):
    @given(batches())
    def check(batch):
        found = outcome(*batch)
        with monkeypatch.context() as patch:
            for backend in (Fast, Exact):
                patch.setattr(backend, "run", lambda self, compute, model, batch: compute(model, batch))
            alone = outcome(*batch)
        np.testing.assert_allclose(found, alone, rtol=1e-9, atol=1e-9)
        if isinstance(batch[0].model.ops, Exact):
            assert np.array_equal(found, alone)

    check()


CONFIG = llama_config(20, 8, 8, layers=2, heads=2, kv_heads=1, context=2048)


def one_batch(lengths):
    model, _ = random_model(CONFIG, 0)
    tokens = [np.arange(n) % 20 for n in lengths]
    return model, ragged_batch(tokens, [minillm.KVCache(model, 2048) for _ in lengths], lengths)


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=8), count=st.integers(1, 5))
def test_every_row_is_in_one_thread_batch(lengths, count):
    thread_batches, _ = divide(one_batch(lengths)[1], count)
    assert len(thread_batches) <= count
    assert sorted(np.concatenate([rows for rows, _ in thread_batches])) == list(range(sum(lengths)))


@pytest.mark.parametrize("lengths", [[1200], [400, 300, 500], [1] * 120])
def test_thread_batches_are_about_equal(lengths):
    """In rows, and in keys that their queries see."""
    thread_batches, _ = divide(one_batch(lengths)[1], 3)
    for work in (
        [len(rows) for rows, _ in thread_batches],
        [int((part.positions + 1).sum()) for _, part in thread_batches],
    ):
        assert max(work) <= 1.02 * min(work)


def test_each_thread_multiplies_alone_meanwhile(shared):
    """And afterwards the library has as many threads as before."""
    model, batch = one_batch([40])

    def blas_threads():
        return [library.num_threads for library in blas_libraries()]

    during, before, all_here = {}, blas_threads(), Barrier(shared)

    def compute(model, part):
        all_here.wait(60)
        during[current_thread().name] = blas_threads()
        return np.zeros((len(part.logit_indices), 1))

    side_by_side.side_by_side(compute, model, batch)
    assert len(during) == shared
    assert all(found == [1] * len(before) for found in during.values())
    assert blas_threads() == before


@pytest.mark.parametrize("in_main", [True, False])
def test_one_thread_that_fails_stops_all(shared, in_main):
    """Its own problem is told, not that the others gave up; the next pass works."""
    model, batch = one_batch([40])

    def failing(model, part):
        if (current_thread() is main_thread()) == in_main:
            raise MemoryError("no room")
        return part.caches[0].segments(0, 1)

    with pytest.raises(MemoryError, match="no room"):
        side_by_side.side_by_side(failing, model, batch)
    tokens = list(range(20))
    assert minillm.forward(model, tokens).shape == (20, 20)


@pytest.mark.parametrize("places", [60, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("count", ["2", "3"])
def test_ctrl_c_leaves_no_thread_waiting(count, places, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", count)
    assert run_unchecked("backends/interrupted_threads.py", str(places)) > places / 4


def test_keys_are_read_when_all_have_written_theirs():
    model, _ = random_model(CONFIG, 0)
    written, own = Written(2), minillm.KVCache(model, 8)
    early, late = ChunkCache(own, 0, written), ChunkCache(own, 2, written)
    keys, found = np.arange(8.0).reshape(2, 1, 4), []
    reader = Thread(target=lambda: found.append(late.segments(1, 4)[0][0][0, :2].copy()))
    late.write(1, keys + 100, keys)
    early.write(0, keys, keys)  # another layer
    reader.start()
    reader.join(0.05)
    assert reader.is_alive()
    early.write(1, keys, keys)
    reader.join(60)
    np.testing.assert_array_equal(found[0], keys[:, 0])
    assert own.length == 0


def test_few_rows_or_one_thread_are_not_divided(monkeypatch):
    _, many = one_batch([1000])
    _, few = one_batch([2 * side_by_side.ROWS_EACH])
    monkeypatch.setattr(side_by_side, "thread_count", lambda: 2)
    assert side_by_side.worth_dividing(many)
    assert not side_by_side.worth_dividing(few)
    monkeypatch.setattr(side_by_side, "thread_count", lambda: 1)
    assert not side_by_side.worth_dividing(many)
