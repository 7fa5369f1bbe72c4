"""Layer streaming: the weights stay in the file, and each forward pass reads one layer after another.

    reading      | layer 0 | layer 1 | layer 2 | layer 3 |
    computing              | layer 0 | layer 1 | layer 2 | layer 3 |

While a layer computes, a thread reads the next one. A layer that is done is dropped, and its memory is free for the
layer after next. So two layers are in memory, for a model of any depth, and every pass reads the whole file: decoding
pays it for each token, prefill once for all tokens of a chunk. The naive twin is a tuple of layers.

Layers are read into arrays, not mapped: `loading/model_file.py` says why. The idea, with weights on disk: Sheng et al.,
FlexGen, 2303.06865, section 4. Article: "Lazy Loading and Model Sharding".
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from threading import Condition, Thread, current_thread
from typing import Any, overload

import numpy as np

from minillm.arrays import Array, Int

IN_MEMORY = 2  # layers: the one that computes, and the one that is being read


class StreamedLayers(Sequence[Any]):
    """The layers of a model as a sequence. Each iteration over it, or over a slice, reads every layer once.

    `read` returns the layer of a number. A test or a lesson may replace it, to count.
    """

    def __init__(self, read: Callable[[int], Any], numbers: Sequence[int]) -> None:
        """Begin with no layer in memory.

        Args:
            read: returns the layer of this number. Several threads may call it.
            numbers: of the layers, in order.
        """
        self.read, self._numbers = read, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return StreamedLayers(self.read, self._numbers[index])
        return self.read(self._numbers[index])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.one_pass(1))

    def only(self, places: Sequence[int]) -> "StreamedLayers":
        """Return some of the layers, in this order."""
        return StreamedLayers(self.read, [self._numbers[place] for place in places])

    def one_pass(self, threads: int) -> "LayerPass":
        """Return one pass through the layers that `threads` threads make together."""
        return LayerPass(self.read, self._numbers, threads)


class LayerPass(Sequence[Any]):
    """One pass through layers, made by several threads together: each layer is read once and given to each of them.

    A layer is read when every thread has left the layer before the last one. Threads that share a prompt keep close
    together by themselves, because attention waits for the keys of all.
    """

    def __init__(self, read: Callable[[int], Any], numbers: Sequence[int], threads: int) -> None:
        self._read, self._numbers = read, numbers
        self._changed = Condition()
        self._in_memory: dict[int, Any] = {}  # place in `numbers` -> layer
        self._places = [0] * threads  # of the layer that each thread uses, or will use first
        self._thread = count()  # numbers of threads, given out as they begin
        self._reader: Thread | None = None
        self._problem: BaseException | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        """Return the pass itself for the slice of all layers: `Model.layers` takes slices."""
        if not isinstance(index, slice) or range(len(self))[index] != range(len(self)):
            raise ValueError(f"{index}: threads that share a pass through the layers have to go through all of them")
        return self

    def __iter__(self) -> Iterator[Any]:
        thread = next(self._thread)
        try:
            self._begin_reading()
            for place in range(len(self._numbers)):
                layer = self._take(place)
                self._move(thread, place)
                yield layer
                del layer  # before the next one is waited for
        finally:  # also if the caller breaks off, or an exception ends it
            self._move(thread, len(self._numbers) + 1)
            if min(self._places) > len(self._numbers):
                self.end()

    def end(self) -> None:
        """Stop reading, and wait until a layer that is being read is done: no thread outlives its forward pass."""
        with self._changed:
            self._stopped = True
            self._in_memory.clear()
            self._changed.notify_all()
        if self._reader is not None and self._reader is not current_thread():
            self._reader.join()

    def _begin_reading(self) -> None:
        with self._changed:
            if self._reader is None and len(self._numbers):
                self._reader = Thread(target=self._read_all, name="layer reader", daemon=True)
                self._reader.start()

    def _move(self, thread: int, place: int) -> None:
        """Record which layer a thread uses, and drop the layers that all have left.

        The thread has the new layer, so the one before is free when the reader begins the next one.
        """
        with self._changed:
            self._places[thread] = place
            for done in [number for number in self._in_memory if number < min(self._places)]:
                del self._in_memory[done]
            self._changed.notify_all()

    def _take(self, place: int) -> Any:
        """Wait for a layer.

        Raises:
            the exception with which reading it failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: place in self._in_memory or self._problem)
            if place in self._in_memory:
                return self._in_memory[place]
            assert self._problem is not None
            raise self._problem

    def _read_all(self) -> None:
        try:
            for place, number in enumerate(self._numbers):
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped or min(self._places) > place - IN_MEMORY)  # noqa: B023
                    if self._stopped:
                        return
                layer = self._read(number)
                with self._changed:
                    self._in_memory[place] = layer
                    self._changed.notify_all()
                del layer
        except BaseException as problem:  # a MemoryError, or a file that has changed
            with self._changed:
                self._problem = problem
                self._changed.notify_all()


class StreamedEmbedding:
    """An embedding that stays in the file. A pass reads the rows of its tokens, and no other."""

    def __init__(self, read_rows: Callable[[list[int]], Any]) -> None:
        """Begin with no row in memory. `read_rows` returns what `ops.prepare_embedding` makes of these rows."""
        self._read_rows = read_rows

    def rows_of(self, tokens: Int[Array, "tokens"]) -> tuple[Any, Int[Array, "tokens"]]:
        """Return a table for `ops.embed` that has each of these tokens once, and the row of each token in it."""
        different, rows = np.unique(tokens, return_inverse=True)
        return self._read_rows([int(token) for token in different]), rows
