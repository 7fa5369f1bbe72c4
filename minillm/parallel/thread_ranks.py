"""Ranks as threads of one process: to look at a model that is cut, or to test it, without MPI.

An all-reduce goes around a ring (Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms, 2009). The array is cut
into as many parts as there are ranks, here a, b and c. Each rank sends one part to the next rank, which adds its own:

    rank 0    a0 ->   b0      c0           then rank 1 has a0 + a1, rank 2 has b1 + b2, rank 0 has c2 + c0;
    rank 1    a1      b1 ->   c1           they send these on, and rank 2 has all of a, rank 0 of b, rank 1 of c
    rank 2    a2      b2      c2 ->

A second round passes the sums on. So each rank sends 2 (size - 1) messages, each with 1 / size of the array. An
all-gather is the second round alone.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.parallel.messages import Traffic

PATIENCE_S = 60  # a thread that waits longer for a message has lost the thread that should send it
Mail = dict[tuple[int, int], SimpleQueue[Array]]  # by sender and receiver


class ThreadRank:
    """One thread of several.

    Attributes:
        rank: the number of this thread, from 0.
        size: the number of threads.
        sent: what this thread has sent, by kind: "all_reduce", "all_gather" and "send".
    """

    def __init__(self, rank: int, size: int, mail: Mail) -> None:
        self.rank, self.size, self._mail = rank, size, mail
        self.sent = {kind: Traffic() for kind in ("all_reduce", "all_gather", "send")}

    def all_reduce(self, x: Array, operation: str = "sum") -> Array:
        """Return the sum (or "max") of every rank's array, element by element, the same on all ranks."""
        join = {"sum": np.add, "max": np.maximum}[operation]
        parts = np.array_split(np.ravel(x), self.size)
        self.sent["all_reduce"].calls += 1
        self._go_round("all_reduce", parts, self.rank, join)
        self._go_round("all_reduce", parts, self.rank + 1, _take_over)
        return np.concatenate(parts).reshape(np.shape(x))

    def all_gather(self, x: Array, lengths: Sequence[int]) -> list[Array]:
        """Return every rank's array in the order of the ranks; `lengths` are those of their first axes."""
        parts = [x] * self.size
        self.sent["all_gather"].calls += 1
        self._go_round("all_gather", parts, self.rank, _take_over)
        assert list(map(len, parts)) == list(lengths)
        return parts

    def send(self, x: Array, to: int) -> None:
        """Send a copy of an array to one rank."""
        self.sent["send"].calls += 1
        self._put("send", x, to)

    def receive(self, source: int, shape: Sequence[int], dtype: Any) -> Array:
        """Return the array that rank `source` sends to this one."""
        x = self._get(source)
        assert x.shape == tuple(shape) and x.dtype == dtype, f"rank {source} has sent {x.dtype} {x.shape}"
        return x

    def _go_round(self, kind: str, parts: list[Array], first: int, join: Callable[[Array, Array], Array]) -> None:
        """Send `size - 1` parts to the next rank, from part `first` down. Join each that comes with the own one."""
        for number in range(first, first - self.size + 1, -1):
            self._put(kind, parts[number % self.size], (self.rank + 1) % self.size)
            came = (number - 1) % self.size
            parts[came] = join(parts[came], self._get((self.rank - 1) % self.size))

    def _put(self, kind: str, x: Array, to: int) -> None:
        self._mail[self.rank, to].put(x.copy())
        self.sent[kind].messages += 1
        self.sent[kind].bytes += x.nbytes

    def _get(self, source: int) -> Array:
        return self._mail[source, self.rank].get(timeout=PATIENCE_S)


def _take_over(own: Array, other: Array) -> Array:
    return other


def in_threads(size: int, work: Callable[[ThreadRank], Any]) -> list[Any]:
    """Return work(rank) of each of `size` ranks, which run at the same time.

    Raises:
        the exception of a rank that raised one.
    """
    mail: Mail = {(sender, receiver): SimpleQueue() for sender in range(size) for receiver in range(size)}
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(work, [ThreadRank(rank, size, mail) for rank in range(size)]))
