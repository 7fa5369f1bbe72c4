"""Side by side: run a long prefill on several threads. Each thread runs the whole forward pass on its own rows.

A BLAS library splits a matrix product over threads, but not the operations between the products (norms, RoPE, softmax).
They take a quarter of the time on `numpy`, and half of it on `exact`. So each thread takes some of the rows from the
embedding to the logits. The threads depend on each other in one place: a query attends over the keys of earlier rows.
So attention waits until every thread has written its keys of the layer.

A *chunk* is a range of consecutive new rows of one sequence. Late rows attend over more keys and take longer. To give
all threads equal work, each sequence is cut into two chunks per thread. Thread n takes chunk n counted from the
beginning and chunk n counted from the end:

    rows of a sequence     0 ............................... 1023
    chunks on 2 threads    |  A   |  B   |  B   |  A   |

A thread's chunks, laid end to end, are its *thread batch*. On several machines this is called context parallelism
(The Llama 3 Herd of Models, 2407.21783, section 3.3.2).

Meanwhile the BLAS library is limited to one thread for each of ours. Otherwise two threads could both wait for all of
the library's threads.
"""

from collections.abc import Callable, Iterator
from copy import copy
from itertools import pairwise
from threading import Condition, Lock
from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.attention import Segments
from minillm.backends.blas_threads import blas_libraries, one_blas_thread, threads_that_help
from minillm.backends.threads import run_tasks, thread_count
from minillm.ragged_batch import CacheLayout, LayerCache, RaggedBatch
from minillm.support.interrupts import defer_interrupts

ROWS_EACH = 64  # rows per thread up to which threads do not pay: every thread reads all of the weights
_one_at_a_time = Lock()  # two passes that share the threads would wait for each other forever


def worth_dividing(batch: RaggedBatch) -> bool:
    """Return whether there are several threads, enough rows for each, and a BLAS library that can be limited."""
    threads = thread_count()
    return threads > 1 and len(batch.tokens) > threads * ROWS_EACH and bool(blas_libraries())


def side_by_side(compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
    """Return compute(model, batch), with the rows divided among the threads if there are enough rows."""
    if not worth_dividing(batch):
        with threads_that_help(model.config):
            return compute(model, batch)
    thread_batches, written = divide(batch, thread_count())
    logits: list[Array | None] = [None] * len(thread_batches)

    def run(number: int) -> None:
        try:
            logits[number] = compute(shared, thread_batches[number][1])
        except BaseException as problem:
            written.give_up(problem)
            raise

    # Ctrl-C is raised in the main thread only. The other threads would wait forever for keys it has not written.
    threads = len(thread_batches)
    with defer_interrupts(written.give_up), _one_at_a_time, one_blas_thread(), model.shared_by(threads) as shared:
        run_tasks(run, threads)
    return _in_order(batch, [rows for rows, _ in thread_batches], logits)


def divide(batch: RaggedBatch, threads: int) -> tuple[list[tuple[Int[Array, "_"], RaggedBatch]], "Written"]:
    """Return for each thread its rows of the batch and its thread batch, and what counts the chunks written."""
    chunks = [
        ((number + min(n, 2 * threads - 1 - n)) % threads, number, slice(start, stop))  # thread, sequence, rows
        for number, span in enumerate(batch.spans)
        for n, (start, stop) in enumerate(_cuts(span, 2 * threads))
        if start < stop
    ]
    written = Written(len(chunks))
    thread_batches = []
    for thread in range(threads):
        own = [(number, rows) for owner, number, rows in chunks if owner == thread]
        if own:
            thread_batches.append(_thread_batch(batch, own, written))
    return thread_batches, written


def _cuts(span: slice, count: int) -> Iterator[tuple[int, int]]:
    """Return start and stop of `count` consecutive chunks of about equal size. In a short span some are empty."""
    rows = span.stop - span.start
    return pairwise(span.start + rows * n // count for n in range(count + 1))


def _thread_batch(
    batch: RaggedBatch, chunks: list[tuple[int, slice]], written: "Written"
) -> tuple[Int[Array, "_"], RaggedBatch]:
    """Lay these chunks end to end. Return the rows of `batch` that they are, and the new batch."""
    rows = np.concatenate([np.arange(chunk.start, chunk.stop) for _, chunk in chunks])
    ends = np.cumsum([chunk.stop - chunk.start for _, chunk in chunks]).tolist()
    spans = [slice(end - (chunk.stop - chunk.start), end) for end, (_, chunk) in zip(ends, chunks, strict=True)]
    caches = [ChunkCache(batch.caches[n], int(batch.positions[chunk.start]), written) for n, chunk in chunks]
    logit_indices = np.flatnonzero(np.isin(rows, batch.logit_indices))
    return rows, RaggedBatch(batch.tokens[rows], batch.positions[rows], logit_indices, spans, caches)


def _in_order(batch: RaggedBatch, rows: list[Array], logits: list[Any]) -> Float[Array, "rows vocab"]:
    """Return the logits of all threads in the order of `batch.logit_indices`."""
    joined = np.empty((len(batch.logit_indices), logits[0].shape[1]), logits[0].dtype)
    for own, of_thread in zip(rows, logits, strict=True):
        joined[np.isin(batch.logit_indices, own)] = of_thread[np.argsort(own[np.isin(own, batch.logit_indices)])]
    return joined


class ChunkCache:
    """The cache of a sequence as one chunk of its new rows uses it: its length is the position of the first row."""

    def __init__(self, cache: LayerCache, length: int, written: "Written") -> None:
        self._cache, self._written, self.length = copy(cache), written, length
        self._cache.length = length  # of the copy, which has the same keys and values

    def write(self, layer: int, k: Array, v: Array) -> None:
        """Write to the cache, then record that this chunk is written."""
        self._cache.write(layer, k, v)
        self._written.add(layer)

    def segments(self, layer: int, end: int) -> Segments:
        """Return the cache's segments, after all chunks have written their keys and values."""
        self._written.wait(layer)
        return self._cache.segments(layer, end)

    def layout(self) -> CacheLayout:
        """Return the cache's layout."""
        return self._cache.layout()


class Written:
    """Counts, for each layer, the chunks whose keys and values are written."""

    def __init__(self, chunks: int) -> None:
        self._chunks, self._changed = chunks, Condition()
        self._count: dict[int, int] = {}
        self._problem: BaseException | None = None

    def add(self, layer: int) -> None:
        """Count one more chunk as written."""
        with self._changed:
            self._count[layer] = self._count.get(layer, 0) + 1
            self._changed.notify_all()

    def wait(self, layer: int) -> None:
        """Wait until all chunks are written.

        Raises:
            the exception of the thread that failed, if one did.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._problem or self._count.get(layer) == self._chunks)
            if self._problem:
                raise self._problem

    def give_up(self, problem: BaseException) -> None:
        """Record that a thread has failed, and wake all threads that wait."""
        with self._changed:
            self._problem = self._problem or problem
            self._changed.notify_all()
