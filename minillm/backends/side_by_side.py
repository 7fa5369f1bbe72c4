"""Side by side: the rows of a long prefill, shared out among threads, each of which runs the whole forward pass on its.

A BLAS library shares a product among threads, but not what lies between the products: norms, rotations, softmax, a
third of the time. So each thread takes some of the rows from the embedding to the logits. They need each other in one
place only: a query sees the keys of earlier rows, so attention waits until every thread has written its keys of the
layer. Late rows see more keys and take longer; each sequence is therefore cut into two chunks a thread, and thread n
takes the n-th from its beginning and the n-th from its end. On several machines this is called context parallelism
(The Llama 3 Herd of Models, 2407.21783, section 3.3.2).

The threads of the BLAS library would be in the way, since threads that both want all of them wait for each other.
"""

from collections.abc import Callable, Iterator
from copy import copy
from functools import cache
from itertools import pairwise
from threading import Condition, Lock
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from minillm.arrays import Array, Float, Int
from minillm.attention import Segments
from minillm.backends.threads import share, thread_count
from minillm.ragged_batch import CacheLayout, LayerCache, RaggedBatch
from minillm.support.interrupts import defer_interrupts

ROWS_EACH = 64  # fewer rows a thread are not worth it: every thread reads all of the weights
_one_at_a_time = Lock()  # the number of BLAS threads is the whole process's


def worth_sharing(batch: RaggedBatch) -> bool:
    """Whether there are several threads, rows enough for each, and a BLAS library that can be kept to one thread."""
    threads = thread_count()
    return threads > 1 and len(batch.tokens) > threads * ROWS_EACH and bool(_blas().lib_controllers)


def side_by_side(compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
    """compute(model, batch), with the rows shared out among the threads, if there are enough of them."""
    if not worth_sharing(batch):
        return compute(model, batch)
    shares, written = divide(batch, thread_count())
    logits: list[Array | None] = [None] * len(shares)

    def run(number: int) -> None:
        try:
            logits[number] = compute(model, shares[number][1])
        except BaseException as problem:
            written.give_up(problem)
            raise

    # Ctrl-C would be raised in this thread only, and the others would wait for what it has yet to write.
    with defer_interrupts(written.give_up), _one_at_a_time, _blas().limit(limits=1):
        share(run, len(shares))
    return _in_order(batch, [rows for rows, _ in shares], logits)


def divide(batch: RaggedBatch, threads: int) -> tuple[list[tuple[Int[Array, "_"], RaggedBatch]], "Written"]:
    """Which rows each thread takes, as a ragged batch of chunks; and what they know of each other."""
    chunks = [
        (number + min(n, 2 * threads - 1 - n), number, slice(start, stop))
        for number, span in enumerate(batch.spans)
        for n, (start, stop) in enumerate(_cuts(span, 2 * threads))
        if start < stop
    ]
    written = Written(len(chunks))
    shares = []
    for thread in range(threads):
        own = [(number, rows) for turn, number, rows in chunks if turn % threads == thread]
        if own:
            shares.append(_part(batch, own, written))
    return shares, written


def _cuts(span: slice, count: int) -> Iterator[tuple[int, int]]:
    """So many neighbouring segments of about the same size; of a short span, some are empty."""
    rows = span.stop - span.start
    return pairwise(span.start + rows * n // count for n in range(count + 1))


def _part(batch: RaggedBatch, own: list[tuple[int, slice]], written: "Written") -> tuple[Int[Array, "_"], RaggedBatch]:
    """These chunks laid end to end; `rows[i]` is the place in the whole batch of row i."""
    rows = np.concatenate([np.arange(chunk.start, chunk.stop) for _, chunk in own])
    ends = np.cumsum([chunk.stop - chunk.start for _, chunk in own]).tolist()
    spans = [slice(end - (chunk.stop - chunk.start), end) for end, (_, chunk) in zip(ends, own, strict=True)]
    caches = [Chunk(batch.caches[n], int(batch.positions[chunk.start]), written) for n, chunk in own]
    logit_indices = np.flatnonzero(np.isin(rows, batch.logit_indices))
    return rows, RaggedBatch(batch.tokens[rows], batch.positions[rows], logit_indices, spans, caches)


def _in_order(batch: RaggedBatch, rows: list[Array], logits: list[Any]) -> Float[Array, "rows vocab"]:
    """The logits of all shares, in the order in which the batch wants them."""
    joined = np.empty((len(batch.logit_indices), logits[0].shape[1]), logits[0].dtype)
    for own, part in zip(rows, logits, strict=True):
        joined[np.isin(batch.logit_indices, own)] = part[np.argsort(own[np.isin(own, batch.logit_indices)])]
    return joined


class Chunk:
    """The cache of a sequence, as a chunk of its new rows sees it: it begins at the chunk's first row."""

    def __init__(self, cache: LayerCache, length: int, written: "Written") -> None:
        """The same memory, with another length."""
        self._cache, self._written, self.length = copy(cache), written, length
        self._cache.length = length

    def write(self, layer: int, k: Array, v: Array) -> None:
        """As the cache does, and tell the others."""
        self._cache.write(layer, k, v)
        self._written.add(layer)

    def segments(self, layer: int, end: int) -> Segments:
        """As the cache gives them, once all chunks have written theirs."""
        self._written.wait(layer)
        return self._cache.segments(layer, end)

    def layout(self) -> CacheLayout:
        """As the cache says."""
        return self._cache.layout()


class Written:
    """How many chunks have written their keys and values, layer by layer."""

    def __init__(self, chunks: int) -> None:
        """None yet."""
        self._chunks, self._changed = chunks, Condition()
        self._count: dict[int, int] = {}
        self._problem: BaseException | None = None

    def add(self, layer: int) -> None:
        """One more has."""
        with self._changed:
            self._count[layer] = self._count.get(layer, 0) + 1
            self._changed.notify_all()

    def wait(self, layer: int) -> None:
        """Until all have.

        Raises:
            the problem for which one of them never will.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._problem or self._count.get(layer) == self._chunks)
            if self._problem:
                raise self._problem

    def give_up(self, problem: BaseException) -> None:
        """Wake whoever waits: a thread has failed."""
        with self._changed:
            self._problem = self._problem or problem
            self._changed.notify_all()


@cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries in use whose threads can be counted out: OpenBLAS, MKL or BLIS, not Apple's Accelerate."""
    return ThreadpoolController().select(user_api="blas")
