"""Ranks as threads of one process: to look at a pipeline, or to test it, without MPI."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from minillm.arrays import Array

PATIENCE_S = 60  # a thread that waits longer for a message has lost the thread that should send it
Mail = dict[tuple[int, int], SimpleQueue[Array]]  # by sender and receiver


class ThreadRank:
    """One thread of several, with the messages of `Ranks`.

    Attributes:
        rank: the number of this thread, from 0.
        size: the number of threads.
        messages, bytes: what this thread has sent.
    """

    def __init__(self, rank: int, size: int, mail: Mail) -> None:
        self.rank, self.size, self._mail = rank, size, mail
        self.messages = self.bytes = 0

    def send(self, x: Array, to: int) -> None:
        """Send a copy of an array to one rank."""
        self._mail[self.rank, to].put(x.copy())
        self.messages += 1
        self.bytes += x.nbytes

    def receive(self, source: int, shape: Sequence[int], dtype: Any) -> Array:
        """Return the array that rank `source` sends to this one."""
        x = self._mail[source, self.rank].get(timeout=PATIENCE_S)
        assert x.shape == tuple(shape) and x.dtype == dtype, f"rank {source} has sent {x.dtype} {x.shape}"
        return x


def in_threads(size: int, work: Callable[[ThreadRank], Any]) -> list[Any]:
    """Return work(rank) of each of `size` ranks, which run at the same time.

    Raises:
        the exception of a rank that raised one.
    """
    mail: Mail = {(sender, receiver): SimpleQueue() for sender in range(size) for receiver in range(size)}
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(work, [ThreadRank(rank, size, mail) for rank in range(size)]))
