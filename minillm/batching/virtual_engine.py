"""VirtualEngine: the engine's own scheduler over requests that have lengths but no model, so that time can be virtual.

Whatever the scheduler decides, it decides here as it does in `Engine`, and a test holds the two together step by step.
What is missing is the forward pass; a simulation says how long it would take (`estimate/virtual_clock.py`).
`VirtualStaticBatching` is the same for static batching.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from minillm.batching.request import PagedRequest
from minillm.batching.scheduler import Scheduler
from minillm.batching.statistics import Statistics
from minillm.completion import Completion
from minillm.kv_cache.blocks import BlockAllocator
from minillm.kv_cache.paged import BlockPool, PagedKVCache


class PretendedCompletion(Completion):
    """An answer whose length is known beforehand, and whose tokens do not matter."""

    def __init__(self, sequence: list[int], max_new_tokens: int) -> None:
        """The prompt, and how many tokens will be added."""
        self.sequence, self.prompt_tokens, self.max_new_tokens = sequence, len(sequence), max_new_tokens

    @property
    def complete(self) -> bool:
        """Whether no token is missing."""
        return len(self.sequence) == self.prompt_tokens + self.max_new_tokens


class PretendedPool(BlockPool):
    """Blocks that are counted, shared and evicted as always, but hold no keys and values."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        """All blocks are free."""
        BlockAllocator.__init__(self, num_blocks, block_size)
        self.model: Any = None

    @property
    def block_nbytes(self) -> int:
        """There is nothing in it."""
        return 0

    def copy_block(self, source: int, target: int) -> None:
        """There is nothing to copy."""


@dataclass(frozen=True)
class VirtualStep:
    """One forward pass that would be made.

    Attributes:
        batch: for each sequence its new tokens, those cached before, and whether its logits are needed (0 or 1).
        got_token: the requests that have a new token after it.
        finished: those of all requests that are finished after it.
    """

    batch: list[tuple[int, int, int]]
    got_token: list[Any]
    finished: list[Any]


class VirtualEngine:
    """Continuous batching without a model; preempted requests are computed again."""

    def __init__(self, num_blocks: int, block_size: int = 16, max_batch_tokens: int = 512) -> None:
        """No requests yet; the arguments are those of `Engine`."""
        self.pool, self.statistics = PretendedPool(num_blocks, block_size), Statistics()
        self.scheduler = Scheduler(self.pool, max_batch_tokens, False, self.statistics)
        self._fresh = count()

    @property
    def has_work(self) -> bool:
        """Whether a request is not finished yet."""
        return bool(self.scheduler.running or self.scheduler.waiting)

    def submit(self, prompt: Sequence[int] | int, new_tokens: int) -> PagedRequest:
        """A new request. A number instead of a prompt stands for so many tokens that no other prompt begins with.

        Raises:
            ValueError: it could not run even if it had the pool for itself.
        """
        tokens = [next(self._fresh)] * prompt if isinstance(prompt, int) else list(prompt)
        need = self.pool.blocks_for(len(tokens) + new_tokens - 1)
        if need > self.pool.num_blocks:
            raise ValueError(f"a request needs {need} blocks, but the pool has {self.pool.num_blocks}")
        completion = PretendedCompletion(tokens, new_tokens)
        request = PagedRequest(completion, self.statistics.steps, PagedKVCache(self.pool), object())
        self.scheduler.add(request)
        return request

    def step(self) -> VirtualStep:
        """What `Engine.step` does, but for the forward pass."""
        plan = self.scheduler.schedule()
        assert plan, "requests are there, but none can run"
        self.statistics.steps += 1
        batch, got_token = [], []
        for request, tokens in plan:
            ends = request.remaining == len(tokens)
            batch.append((len(tokens), request.cache.length, int(ends)))
            request.cache.length += len(tokens)
            request.cache.publish(request.sequence)
            if ends:
                request.completion.sequence.append(request.completion.sequence[-1])
                got_token.append(request)
        finished = [request for request in got_token if len(request.tokens) == request.completion.max_new_tokens]
        for request in finished:
            self.scheduler.remove(request)
            request.finish_reason, request.finished_step = "length", self.statistics.steps
        return VirtualStep(batch, got_token, finished)


class VirtualStaticBatching:
    """Static batching without a model: a batch starts together, and all of it is answered when the longest is done."""

    def __init__(self, batch_size: int) -> None:
        """No requests yet."""
        self.batch_size, self.waiting = batch_size, deque[PretendedCompletion]()
        self.running: list[PretendedCompletion] = []

    @property
    def has_work(self) -> bool:
        """Whether a request is not answered yet."""
        return bool(self.running or self.waiting)

    def submit(self, prompt: int, new_tokens: int) -> PretendedCompletion:
        """A new request of so many tokens."""
        request = PretendedCompletion([0] * prompt, new_tokens)
        self.waiting.append(request)
        return request

    def step(self) -> VirtualStep:
        """One step of the batch that runs, or the first of the next one."""
        prefill = not self.running
        while prefill and self.waiting and len(self.running) < self.batch_size:
            self.running.append(self.waiting.popleft())
        unfinished = [request for request in self.running if not request.complete]
        batch = []
        for request in unfinished:
            new = len(request.sequence) if prefill else 1
            batch.append((new, len(request.sequence) - new, 1))
            request.sequence.append(0)
        if not all(request.complete for request in self.running):
            return VirtualStep(batch, unfinished, [])
        finished, self.running = self.running, []
        return VirtualStep(batch, unfinished, finished)
