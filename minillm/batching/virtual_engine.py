"""VirtualEngine: the engine's own scheduler over requests that have lengths but no model, so that time can be virtual.

The scheduler decides here exactly as in `Engine`; a test compares the two step by step. Only the forward pass is
missing, and with it keys and values: a request has a bare block table. A simulation says how long a pass would take
(`estimate/virtual_clock.py`). `VirtualStaticBatching` is the same for static batching.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from minillm.batching.request import PagedRequest
from minillm.batching.scheduler import Scheduler
from minillm.batching.statistics import Statistics
from minillm.completion import Completion
from minillm.events import Finished
from minillm.kv_cache.block_table import BlockTable
from minillm.kv_cache.neighbours import NeighbourAllocator
from minillm.support.wording import counted

NO_LOGITS = np.empty(0)  # tokens here come from no model


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
        self.pool, self.statistics = NeighbourAllocator(num_blocks, block_size), Statistics()
        self.scheduler = Scheduler(self.pool, max_batch_tokens, False, self.statistics.count)
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
        completion = Completion(tokens, new_tokens)
        request = PagedRequest(completion, self.statistics.steps, BlockTable(self.pool), object())
        self.scheduler.add(request)
        return request

    def step(self) -> VirtualStep:
        """Do what `Engine.step` does, except for the forward pass."""
        plan = self.scheduler.schedule()
        assert plan, "requests are there, but none can run"
        batch, got_token = [], [entry.request for entry in plan if entry.logit_rows]
        for entry in plan:
            batch.append((len(entry.tokens), entry.request.cache.length, entry.logit_rows))
            entry.request.cache.length += len(entry.tokens)
        self.scheduler.end_step(plan)
        for entry in plan:
            entry.request.cache.publish(entry.request.sequence)
        for request in got_token:
            request.completion.append(request.sequence[-1], NO_LOGITS)
        finished = [request for request in got_token if request.completion.finish_reason]
        for request in finished:
            self.scheduler.remove(request)
            request.status, request.finished_step = "finished", self.statistics.steps
            self.statistics.count(Finished(request.completion, request.finish_reason))
        return VirtualStep(batch, got_token, finished)


class VirtualStaticBatching:
    """Static batching without a model: a batch starts together, and all are answered when the longest one is done."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size, self.waiting = batch_size, deque[Completion]()
        self.running: list[Completion] = []

    @property
    def has_work(self) -> bool:
        """Whether a request is not answered."""
        return bool(self.running or self.waiting)

    def submit(self, prompt: int, new_tokens: int) -> Completion:
        """Append a request with `prompt` prompt tokens and `new_tokens` new ones."""
        request = Completion([0] * prompt, new_tokens)
        self.waiting.append(request)
        return request

    def step(self) -> VirtualStep:
        """Make one step of the running batch, or the first step of the next one."""
        prefill = not self.running
        while prefill and self.waiting and len(self.running) < self.batch_size:
            self.running.append(self.waiting.popleft())
        unfinished = [request for request in self.running if not request.finish_reason]
        batch = []
        for request in unfinished:
            new = len(request.sequence) if prefill else 1
            batch.append((new, len(request.sequence) - new, 1))
            request.append(0, NO_LOGITS)
        if not all(request.finish_reason for request in self.running):
            return VirtualStep(batch, unfinished, [])
        finished, self.running = self.running, []
        return VirtualStep(batch, unfinished, finished)
