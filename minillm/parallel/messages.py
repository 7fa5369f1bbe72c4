"""Messages: what a part of a model asks of its rank, and how they are counted. `Ranks` and `ThreadRank` answer.

all_reduce    rank 0: [1, 2]   rank 1: [10, 20]   ->   both: [11, 22]
all_gather    rank 0: [1, 2]   rank 1: [10, 20]   ->   both: [[1, 2], [10, 20]]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from minillm.arrays import Array


@dataclass
class Traffic:
    """What one rank has sent in one kind of call.

    Attributes:
        calls: number of calls.
        messages: number of messages; of an all-reduce or all-gather, those to the next rank of the ring.
        bytes: bytes in these messages.
    """

    calls: int = 0
    messages: int = 0
    bytes: float = 0

    def add(self, messages: int, sent_bytes: float) -> None:
        """Count one more call."""
        self.calls += 1
        self.messages += messages
        self.bytes += sent_bytes


class Messages(Protocol):
    """One of several ranks.

    Attributes:
        rank: its number, from 0.
        size: the number of ranks.
        sent: what this rank has sent, by kind: "all_reduce", "all_gather" and "send".
    """

    rank: int
    size: int
    sent: dict[str, Traffic]

    def all_reduce(self, x: Array, operation: str = "sum") -> Array:
        """Return the sum (or "max") of every rank's array, element by element, the same on all ranks."""

    def all_gather(self, x: Array, lengths: Sequence[int]) -> list[Array]:
        """Return every rank's array in the order of the ranks; `lengths` are those of their first axes."""

    def send(self, x: Array, to: int) -> None:
        """Send an array to one rank, which calls `receive`."""

    def receive(self, source: int, shape: Sequence[int], dtype: Any) -> Array:
        """Return the array that rank `source` sends to this one."""
