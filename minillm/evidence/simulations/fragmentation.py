"""How much of a KV cache's memory holds tokens, under four ways to allocate it: Figure 2 of the vLLM paper, simulated.

Kwon et al., vLLM, 2309.06180, sections 3.1 and 6.1. Contiguous memory is reserved before a request's length is known:
for the longest possible sequence (*Max*), for the output rounded up to a power of two (*Pow2*), or for the exact
length, if an oracle knew it (*Oracle*). *Paging* allocates a block when the last one is full. Only memory is
simulated: the queue is never empty, requests start in order of arrival while the first in the queue fits, and each
running request gains one token per step.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Protocol, runtime_checkable

from minillm.arrays import Array, Int
from minillm.evidence.simulations.buddy_allocator import BuddyAllocator, next_power_of_two
from minillm.evidence.simulations.request_lengths import LONGEST


@dataclass(eq=False)
class Request:
    """One request in memory.

    Attributes:
        prompt, output: its numbers of tokens; only the oracle looks at `output`.
        stored: tokens in memory now, or at the time it was preempted.
        allocation: the chunk (start, size), or the numbers of its blocks.
    """

    prompt: int
    output: int
    stored: int
    allocation: list[int] = field(default_factory=list)


@dataclass
class Usage:
    """Slots by what they hold, and running requests, both summed over steps.

    Attributes:
        stored: hold a token.
        reserved: are reserved for a token that will come.
        internal: are reserved for a request that will never use them.
        external: are free, or lost to rounding by the allocator.
        requests: running requests, the batch.
    """

    stored: int | float = 0
    reserved: int | float = 0
    internal: int | float = 0
    external: int | float = 0
    requests: int | float = 0

    def over(self, slots: int, steps: int) -> "Usage":
        """Return the fractions of all slots, and the mean batch."""
        share = 1 / slots / steps
        parts = (self.stored * share, self.reserved * share, self.internal * share, self.external * share)
        return Usage(*parts, self.requests / steps)


@runtime_checkable
class Memory(Protocol):
    """A way to allocate memory."""

    slots: int

    def admit(self, request: Request) -> bool:
        """Take what a request needs to start; return False, and take nothing, if it does not fit."""

    def grow(self, running: list[Request]) -> list[Request]:
        """Make room for the newest token of each request.

        Return the preempted requests, earliest first, removed from `running`.
        """

    def release(self, request: Request) -> None:
        """Free everything that the request holds."""

    def usage(self, running: Sequence[Request]) -> Usage:
        """Return what the slots hold now."""


class Reservation:
    """Contiguous memory: one chunk for each request, large enough for what is reserved."""

    def __init__(self, slots: int, reserve: Callable[[int, int], int]) -> None:
        """Take `reserve`, which returns for prompt and output tokens how many slots a request asks for."""
        self.slots, self.reserve, self.allocator = slots, reserve, BuddyAllocator(slots)

    def admit(self, request: Request) -> bool:
        """Allocate the chunk."""
        chunk = self.allocator.allocate(self.reserve(request.prompt, request.output))
        request.allocation = list(chunk or ())
        return chunk is not None

    def grow(self, running: list[Request]) -> list[Request]:
        """Do nothing: the memory is reserved already, so no request is preempted."""
        return []

    def release(self, request: Request) -> None:
        """Free the chunk."""
        start, size = request.allocation
        self.allocator.free((start, size))

    def usage(self, running: Sequence[Request]) -> Usage:
        """Count what a request will use as reserved, and what it asked for beyond that as internal waste."""
        stored = sum(request.stored for request in running)
        final = sum(request.prompt + request.output for request in running)
        asked = sum(self.reserve(request.prompt, request.output) for request in running)
        return Usage(stored, final - stored, asked - final, self.slots - asked, len(running))


@runtime_checkable
class Blocks(Protocol):
    """The part of an allocator that paging needs.

    The engine's own allocator, `minillm.kv_cache.blocks.BlockAllocator`, has it.
    """

    num_blocks: int
    block_size: int

    @property
    def available(self) -> int:
        """Return how many blocks can be allocated."""

    def allocate(self, count: int) -> list[int]:
        """Allocate `count` blocks."""

    def free(self, blocks: Sequence[int]) -> None:
        """Free blocks."""


class Paging:
    """Blocks as they are needed. When none is left, the latest request gives up all of its blocks and waits."""

    def __init__(self, blocks: Blocks) -> None:
        """Take the allocator as an argument, because simulations do not import the engine."""
        self.blocks, self.slots = blocks, blocks.num_blocks * blocks.block_size

    def admit(self, request: Request) -> bool:
        """Allocate blocks for the prompt, or for all tokens of a preempted request, and for one more token."""
        need = request.stored // self.blocks.block_size + 1
        if need > self.blocks.available:
            return False
        request.allocation = self.blocks.allocate(need)
        return True

    def grow(self, running: list[Request]) -> list[Request]:
        """Allocate a block for each request whose last block is full."""
        preempted: deque[Request] = deque()
        size, index = self.blocks.block_size, 0
        while index < len(running):
            request = running[index]
            if request.stored <= len(request.allocation) * size:
                index += 1
            elif self.blocks.available:
                request.allocation += self.blocks.allocate(1)
            else:
                preempted.appendleft(running.pop())
                preempted[0].stored -= 1  # its newest token has found no slot
                self.release(preempted[0])
        return list(preempted)

    def release(self, request: Request) -> None:
        """Free the blocks."""
        self.blocks.free(request.allocation)

    def usage(self, running: Sequence[Request]) -> Usage:
        """Count the empty slots of last blocks as internal waste; all other slots of a block table hold tokens."""
        stored = sum(request.stored for request in running)
        taken = sum(len(request.allocation) for request in running) * self.blocks.block_size
        return Usage(stored, 0, taken - stored, self.slots - taken, len(running))


def max_reservation(prompt: int, output: int) -> int:
    """Reserve the longest possible sequence: *Max*."""
    return LONGEST


def pow2_reservation(prompt: int, output: int) -> int:
    """Reserve the output rounded up to a power of two, but no more than the longest possible sequence: *Pow2*."""
    return min(prompt + next_power_of_two(output), LONGEST)


def oracle_reservation(prompt: int, output: int) -> int:
    """Reserve the exact length: *Oracle*."""
    return prompt + output


def simulate(memory: Memory, lengths: Int[Array, "requests 2"], steps: int, warm_up: int) -> Usage:
    """Return the mean fractions of the memory, and the mean batch, over `steps` steps.

    Args:
        memory: the way to allocate it.
        lengths: prompt and output tokens of the requests, in order of arrival; enough for all steps.
        steps: number of steps that count.
        warm_up: number of steps before these, so that requests of all ages are running.

    Raises:
        ValueError: a request does not fit into the whole memory, or there are too few requests.
    """
    running: list[Request] = []
    queue = deque(Request(prompt, output, stored=prompt) for prompt, output in lengths.tolist())
    total, has_room = Usage(), True
    for step in range(warm_up + steps):
        if has_room:  # a request has left since the first in the queue last failed to fit
            _admit(memory, running, queue)
        for request in running:
            request.stored += 1
        preempted = memory.grow(running)
        queue.extendleft(reversed(preempted))
        if step >= warm_up:
            total = _sum(total, memory.usage(running))
        finished = [request for request in running if request.stored >= request.prompt + request.output]
        for request in finished:
            running.remove(request)
            memory.release(request)
        has_room = bool(finished or preempted)
    return total.over(memory.slots, steps)


def _admit(memory: Memory, running: list[Request], queue: deque[Request]) -> None:
    """Start requests until the first in the queue does not fit; none overtakes it."""
    while queue and memory.admit(queue[0]):
        running.append(queue.popleft())
    if not queue:
        raise ValueError("all requests have started; expected more requests, so that the queue is never empty")
    if not running:
        raise ValueError(f"a request of {queue[0].prompt} tokens does not fit into {memory.slots} slots")


def _sum(a: Usage, b: Usage) -> Usage:
    return Usage(*(ours + theirs for ours, theirs in zip(astuple(a), astuple(b), strict=True)))
