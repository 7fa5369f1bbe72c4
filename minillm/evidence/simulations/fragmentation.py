"""How much of a KV cache's memory holds tokens, under four ways to hand it out: Figure 2 of the vLLM paper, simulated.

Kwon et al., vLLM, 2309.06180, sections 3.1 and 6.1. Contiguous memory is reserved before a request's length is known:
to the longest possible (*Max*), to the next power of two of its output (*Pow2*), or, if only somebody knew it, exactly
(*Oracle*). *Paging* takes a block when the one before is full. Only memory is simulated: the queue is never empty,
requests start in order of arrival while the first of the queue fits, and each running request gains a token a step.
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
        prompt, output: how many tokens it will have; only the oracle looks at `output`.
        stored: how many of them are in memory, or were when it had to give way.
        place: what the memory remembers of it.
    """

    prompt: int
    output: int
    stored: int
    place: list[int] = field(default_factory=list)


@dataclass
class Usage:
    """Slots summed over steps, by what is in them, and the requests that were running.

    Attributes:
        stored: tokens.
        reserved: for tokens that will come.
        internal: taken for a request, and never used by it.
        external: free, or lost to rounding by the allocator.
        requests: running ones, the batch.
    """

    stored: int | float = 0
    reserved: int | float = 0
    internal: int | float = 0
    external: int | float = 0
    requests: int | float = 0

    def over(self, slots: int, steps: int) -> "Usage":
        """Shares of all slots, and the mean batch."""
        share = 1 / slots / steps
        parts = (self.stored * share, self.reserved * share, self.internal * share, self.external * share)
        return Usage(*parts, self.requests / steps)


@runtime_checkable
class Memory(Protocol):
    """A way to hand memory out."""

    slots: int

    def admit(self, request: Request) -> bool:
        """Take what a request needs to start; False, and nothing taken, if there is no room."""

    def grow(self, running: list[Request]) -> list[Request]:
        """Room for the newest token of each; those that had to give way, out of `running`, the earliest first."""

    def release(self, request: Request) -> None:
        """Take everything back."""

    def usage(self, running: Sequence[Request]) -> Usage:
        """What is in the slots now."""


class Reservation:
    """Contiguous: one chunk for each request, large enough for what is reserved."""

    def __init__(self, slots: int, reserve: Callable[[int, int], int]) -> None:
        """Nothing is taken. `reserve` gives, for prompt and output tokens, how many slots a request asks for."""
        self.slots, self.reserve, self.allocator = slots, reserve, BuddyAllocator(slots)

    def admit(self, request: Request) -> bool:
        """Take the chunk."""
        chunk = self.allocator.allocate(self.reserve(request.prompt, request.output))
        request.place = list(chunk or ())
        return chunk is not None

    def grow(self, running: list[Request]) -> list[Request]:
        """The room is there already, and nobody gives way."""
        return []

    def release(self, request: Request) -> None:
        """Take the chunk back."""
        start, size = request.place
        self.allocator.free((start, size))

    def usage(self, running: Sequence[Request]) -> Usage:
        """What a request will use is reserved; what it asked for beyond that is internal waste."""
        stored = sum(request.stored for request in running)
        final = sum(request.prompt + request.output for request in running)
        asked = sum(self.reserve(request.prompt, request.output) for request in running)
        return Usage(stored, final - stored, asked - final, self.slots - asked, len(running))


@runtime_checkable
class Blocks(Protocol):
    """What paging asks of an allocator: `minillm.kv_cache.blocks.BlockAllocator`, the engine's own, has it."""

    num_blocks: int
    block_size: int

    @property
    def available(self) -> int:
        """How many blocks can be allocated."""

    def allocate(self, count: int) -> list[int]:
        """Take `count` blocks."""

    def free(self, blocks: Sequence[int]) -> None:
        """Give blocks back."""


class Paging:
    """Blocks as they are needed. When none is left, the latest request gives all of its own up, and waits."""

    def __init__(self, blocks: Blocks) -> None:
        """Nothing is taken. The allocator is handed in, since estimates know nothing of the engine."""
        self.blocks, self.slots = blocks, blocks.num_blocks * blocks.block_size

    def admit(self, request: Request) -> bool:
        """Take the blocks of the prompt, or of all tokens that it had when it gave way, and of one more."""
        need = request.stored // self.blocks.block_size + 1
        if need > self.blocks.available:
            return False
        request.place = self.blocks.allocate(need)
        return True

    def grow(self, running: list[Request]) -> list[Request]:
        """One more block for each whose last is full."""
        preempted: deque[Request] = deque()
        size, place = self.blocks.block_size, 0
        while place < len(running):
            request = running[place]
            if request.stored <= len(request.place) * size:
                place += 1
            elif self.blocks.available:
                request.place += self.blocks.allocate(1)
            else:
                preempted.appendleft(running.pop())
                preempted[0].stored -= 1  # the newest has not found a slot
                self.release(preempted[0])
        return list(preempted)

    def release(self, request: Request) -> None:
        """Take the blocks back."""
        self.blocks.free(request.place)

    def usage(self, running: Sequence[Request]) -> Usage:
        """Only last blocks have empty slots."""
        stored = sum(request.stored for request in running)
        taken = sum(len(request.place) for request in running) * self.blocks.block_size
        return Usage(stored, 0, taken - stored, self.slots - taken, len(running))


def max_reservation(prompt: int, output: int) -> int:
    """*Max*: the longest that is possible, whatever comes."""
    return LONGEST


def pow2_reservation(prompt: int, output: int) -> int:
    """*Pow2*: as if the output were known to the next power of two; no more than is possible."""
    return min(prompt + next_power_of_two(output), LONGEST)


def oracle_reservation(prompt: int, output: int) -> int:
    """*Oracle*: as if the output were known."""
    return prompt + output


def simulate(memory: Memory, lengths: Int[Array, "requests 2"], steps: int, warm_up: int) -> Usage:
    """Mean shares of the memory, and the mean batch, over so many steps.

    Args:
        memory: the way to hand it out.
        lengths: prompt and output tokens of the requests, in order of arrival; enough for all steps.
        steps: how many are counted.
        warm_up: how many are made before, so that requests of all ages are there.

    Raises:
        ValueError: a request does not even fit into the whole memory, or there are too few.
    """
    running: list[Request] = []
    queue = deque(Request(prompt, output, stored=prompt) for prompt, output in lengths.tolist())
    total, has_room = Usage(), True
    for step in range(warm_up + steps):
        if has_room:  # since the last that did not fit, somebody has left
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
    """Let requests start until the first of the queue does not fit; nobody overtakes it."""
    while queue and memory.admit(queue[0]):
        running.append(queue.popleft())
    if not queue:
        raise ValueError("all requests have started; expected more, so that the queue is never empty")
    if not running:
        raise ValueError(f"a request of {queue[0].prompt} tokens does not fit into {memory.slots} slots")


def _sum(a: Usage, b: Usage) -> Usage:
    return Usage(*(ours + theirs for ours, theirs in zip(astuple(a), astuple(b), strict=True)))
