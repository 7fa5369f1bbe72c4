"""VirtualEngine: the engine's own scheduler over requests that have lengths but no model, so that time can be virtual.

The scheduler decides here exactly as in `Engine`; a test compares the two step by step. Only the forward pass is
missing: a simulation says how long it would take (`estimate/virtual_clock.py`). `VirtualStaticBatching` is the same for
static batching.
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
from minillm.kv_cache.neighbours import NeighbourAllocator
from minillm.kv_cache.paged import BlockPool, PagedKVCache
from minillm.support.wording import counted


class PretendedCompletion(Completion):
    """An answer of a known length, whose tokens do not matter."""

    def __init__(self, sequence: list[int], max_new_tokens: int) -> None:
        """Take the prompt, and the number of tokens that will be added."""
        self.sequence = sequence
        self.prompt_tokens = len(sequence)
        self.max_new_tokens = max_new_tokens
        self.finish_reason = ""

    @property
    def complete(self) -> bool:
        """Whether all tokens were added."""
        return len(self.sequence) == self.prompt_tokens + self.max_new_tokens


class PretendedPool(BlockPool):
    """A pool whose blocks are counted, shared and evicted as usual, but hold no keys and values."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        NeighbourAllocator.__init__(self, num_blocks, block_size)
        self.model: Any = None

    @property
    def block_nbytes(self) -> int:
        """Zero: a block has no arrays."""
        return 0

    def copy_block(self, source: int, target: int) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class VirtualStep:
    """One forward pass that an engine would make.

    Attributes:
        batch: for each sequence the number of new tokens, of cached tokens, and of rows of logits (0 or 1).
        got_token: the requests that have a new token after the step.
        finished: the requests that are finished after the step.
    """

    batch: list[tuple[int, int, int]]
    got_token: list[Any]
    finished: list[Any]


class VirtualEngine:
    """Continuous batching without a model. Preempted requests are recomputed."""

    def __init__(self, num_blocks: int, block_size: int = 16, max_batch_tokens: int = 512) -> None:
        """Begin without requests. The arguments are those of `Engine`."""
        self.pool, self.statistics = PretendedPool(num_blocks, block_size), Statistics()
        self.scheduler = Scheduler(self.pool, max_batch_tokens, False, self.statistics)
        self._fresh = count()

    @property
    def has_work(self) -> bool:
        """Whether a request is not finished yet."""
        return bool(self.scheduler.running or self.scheduler.waiting)

    def submit(self, prompt: Sequence[int] | int, new_tokens: int) -> PagedRequest:
        """Append a new request. A number instead of a prompt stands for a prompt of that length with no known prefix.

        Raises:
            ValueError: it does not fit into the pool even if it is alone.
        """
        tokens = [next(self._fresh)] * prompt if isinstance(prompt, int) else list(prompt)
        need = self.pool.blocks_for(len(tokens) + new_tokens - 1)
        if need > self.pool.num_blocks:
            raise ValueError(f"a request needs {counted(need, 'block')}, but the pool has {self.pool.num_blocks}")
        completion = PretendedCompletion(tokens, new_tokens)
        request = PagedRequest(completion, self.statistics.steps, PagedKVCache(self.pool), object())
        self.scheduler.add(request)
        return request

    def step(self) -> VirtualStep:
        """Do what `Engine.step` does, except for the forward pass."""
        plan = self.scheduler.schedule()
        assert plan, "requests are there, but none can run"
        self.statistics.steps += 1
        batch, got_token = [], []
        for entry in plan:
            request = entry.request
            batch.append((len(entry.tokens), request.cache.length, entry.logit_rows))
            request.cache.length += len(entry.tokens)
            request.cache.publish(request.sequence)
            if entry.logit_rows:
                request.completion.sequence.append(request.completion.sequence[-1])
                got_token.append(request)
        finished = [request for request in got_token if len(request.tokens) == request.completion.max_new_tokens]
        for request in finished:
            self.scheduler.remove(request)
            request.completion.finish_reason = "length"
            request.status, request.finished_step = "finished", self.statistics.steps
        return VirtualStep(batch, got_token, finished)


class VirtualStaticBatching:
    """Static batching without a model: a batch starts together, and all are answered when the longest one is done."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size, self.waiting = batch_size, deque[PretendedCompletion]()
        self.running: list[PretendedCompletion] = []

    @property
    def has_work(self) -> bool:
        """Whether a request is not answered."""
        return bool(self.running or self.waiting)

    def submit(self, prompt: int, new_tokens: int) -> PretendedCompletion:
        """Append a request with `prompt` prompt tokens and `new_tokens` new ones."""
        request = PretendedCompletion([0] * prompt, new_tokens)
        self.waiting.append(request)
        return request

    def step(self) -> VirtualStep:
        """Make one step of the running batch, or the first step of the next one."""
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
