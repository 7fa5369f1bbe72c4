"""The plan: rank 0 decides, and the other ranks follow.

Everything runs on rank 0 as on one rank: scheduler, sampling, speculation, conversations, block tables. Two things have
to happen on the other ranks too, and rank 0 sends them, in order, before it does them itself (a new memory: after):

    pass                 token ids, positions, rows of logits, and for each sequence its cache's length and block table
    memory operation     new, copy (copy-on-write), copy_from (a fork), save and restore (swap): `kv_cache/memory.py`

A follower has memories of its own, with its share of the KV heads, and does with them what it is told. It has no
scheduler, no block allocator and no prefix table: who owns which block is decided by rank 0 alone. So the ranks cannot
disagree: the schedule, the clock and the user act on rank 0 alone.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary, finalize

from minillm.arrays import Array
from minillm.kv_cache.cache import memory_kind
from minillm.kv_cache.memory import CacheMemory, SwappedCache
from minillm.kv_cache.paged import PagedKVCache
from minillm.model import Model
from minillm.parallel.ranks import Ranks
from minillm.ragged_batch import RaggedBatch
from minillm.support.interrupts import defer_interrupts

OPERATIONS = ("copy", "copy_from", "save", "restore")  # of CacheMemory


class Leader:
    """What rank 0 sends.

    Memories and swapped caches are objects; in messages they are numbers. When rank 0 has dropped one, the next message
    says so.
    """

    def __init__(self, ranks: Ranks, model: Model) -> None:
        self._ranks, self._model = ranks, model
        self._numbers, self._next = WeakKeyDictionary[Any, int](), itertools.count()
        self._dropped = deque[int]()
        self._turn = threading.RLock()  # threads that share a model take turns
        self._failed: BaseException | None = None

    @contextmanager
    def sends_pass(self, model: Model, batch: RaggedBatch) -> Iterator[None]:
        """Send a pass, which the `with` block computes. Ctrl-C waits for its end: no rank can stop alone."""
        caches = []
        for cache in batch.caches:
            layout, memory = cache.layout(), cache.memory  # type: ignore[attr-defined]  # of both kinds of caches
            caches.append((self._number(memory), cache.length, layout.block_size, list(layout.table)))
        arrays = batch.tokens, batch.positions, batch.logit_indices
        with self.sends("pass", self._layers_of(model), *arrays, list(batch.spans), caches):
            yield

    @contextmanager
    def sends(self, operation: str, *arguments: Any) -> Iterator[None]:
        """Send what all ranks do in the `with` block.

        If it fails on rank 0, the other ranks are in the middle of it, and would take the next message for a part of
        it. So if the exception is caught, the next call ends all ranks.
        """
        with self._turn, defer_interrupts():
            if self._failed is not None:
                self._ranks.fail(f"an earlier pass has failed: {type(self._failed).__name__}: {self._failed}")
            dropped = [self._dropped.popleft() for _ in range(len(self._dropped))]
            try:
                self._ranks.broadcast((dropped, operation, arguments))
                yield
            except BaseException as problem:
                self._failed = problem
                raise

    def send_operation(self, memory: CacheMemory, operation: str, *arguments: Any) -> None:
        """Send an operation on a memory, which rank 0 does next; or "new", which it has done."""
        if operation == "new":
            model, slots = arguments
            arguments = memory.stored_as, self._layers_of(model), slots
        else:
            arguments = tuple(
                self._number(argument) if isinstance(argument, CacheMemory | SwappedCache) else argument
                for argument in arguments
            )
        with self.sends(operation, self._number(memory), *arguments):
            pass

    def end(self) -> None:
        """Let the other ranks end."""
        with self.sends("end"):
            pass

    def _number(self, thing: Any) -> int:
        if thing not in self._numbers:
            self._numbers[thing] = next(self._next)
            finalize(thing, self._dropped.append, self._numbers[thing])
        return self._numbers[thing]

    def _layers_of(self, model: Model) -> list[int] | None:
        """Return which layers of the loaded model this one has; None for all: a draft model may skip some."""
        if model.layer_weights is self._model.layer_weights:
            return None
        numbers = {id(layer): number for number, layer in enumerate(self._model.layer_weights)}
        return [numbers[id(layer)] for layer in model.layer_weights]


class Follower:
    """A rank that does what rank 0 sends.

    Attributes:
        model: its share.
    """

    def __init__(self, ranks: Ranks, model: Model) -> None:
        self._ranks, self.model = ranks, model
        self._things: dict[int, Any] = {}  # memories and swapped caches, by their numbers

    def follow(self, compute: Callable[[Model, RaggedBatch], Any]) -> None:
        """Do what rank 0 sends until it ends. `compute` makes this rank's share of a pass."""
        while True:
            dropped, operation, arguments = self._ranks.broadcast()
            for number in dropped:
                self._things.pop(number, None)
            if operation == "end":
                return
            if operation == "pass":
                self._pass(compute, *arguments)
            elif operation == "embed":
                self.model.ops.embed(self.model.embedding, *arguments)
            else:
                self._do(operation, *arguments)

    def _pass(
        self,
        compute: Callable[[Model, RaggedBatch], Any],
        layers: list[int] | None,
        tokens: Array,
        positions: Array,
        logit_indices: Array,
        spans: list[slice],
        caches: list[tuple[int, int, int, list[int]]],
    ) -> None:
        followed = [FollowedCache(self._things[number], length, size, table) for number, length, size, table in caches]
        compute(self._with_layers(layers), RaggedBatch(tokens, positions, logit_indices, spans, followed))

    def _do(self, operation: str, number: int, *arguments: Any) -> None:
        if operation == "new":
            stored_as, layers, slots = arguments
            self._things[number] = memory_kind(self.model, stored_as)(self._with_layers(layers), slots)
            return
        assert operation in OPERATIONS, operation
        if operation == "save":
            saved, ranges = arguments
            self._things[saved] = self._things[number].save(ranges)
            return
        if operation in ("copy_from", "restore"):  # the first argument is another memory, or a swapped cache
            arguments = (self._things[arguments[0]], *arguments[1:])
        getattr(self._things[number], operation)(*arguments)

    def _with_layers(self, numbers: list[int] | None) -> Model:
        return self.model if numbers is None else self.model.with_layers(numbers)


class FollowedCache(PagedKVCache):
    """A cache of rank 0, as a follower sees it in one pass: its own memory, and the block table that it was sent."""

    def __init__(self, memory: CacheMemory, length: int, block_size: int, table: list[int]) -> None:
        blocks = memory.keys.shape[2] // block_size
        pool: Any = SimpleNamespace(memory=memory, block_size=block_size, num_blocks=blocks)
        pool.keys, pool.values = memory.keys, memory.values
        pool.blocks_for = lambda tokens: -(-tokens // block_size)
        self.pool, self.length, self.table = pool, length, table
        self._known_ranges = {}
