"""Engine: continuous batching. Each step is one forward pass over whatever the scheduler has picked for it.

    engine = minillm.Engine(model)
    request = engine.submit(model.tokenizer.encode("Once upon a time"), max_new_tokens=50)
    for event in engine.events():
        print(event.step.text, end="")

Requests may be submitted and cancelled at any time between steps. What a request produces never depends on the
others: it is what `generate` gives for it alone, to the bit on the exact backend.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from minillm.arrays import Array
from minillm.batching.request import PagedRequest, Request
from minillm.batching.scheduler import Plan, Scheduler
from minillm.batching.statistics import Statistics
from minillm.checks import check_model, check_whole, shown
from minillm.completion import Completion, Step
from minillm.model import Model
from minillm.paged_kv_cache import BlockPool, PagedKVCache
from minillm.sampling import Sampling
from minillm.transformer import Tokens, forward_batch

POOL_TOKENS = 16_384  # by default; memory for keys and values that are never written is never touched
BATCH_TOKENS = 512  # by default; about where larger chunks no longer make prefill faster
PREEMPTION = ("recompute", "swap")


@dataclass(frozen=True)
class Event:
    """One request has a new token; `step.finish_reason` says whether it is its last."""

    request: Request
    step: Step


class Engine:
    """Many requests, one model.

    Attributes:
        pool: the blocks of all keys and values.
        scheduler: who runs and who waits.
        statistics: what has been done so far.
    """

    def __init__(
        self,
        model: Model,
        block_size: int = 16,
        num_blocks: int | None = None,
        max_batch_tokens: int | None = None,
        preemption: str = "recompute",
    ) -> None:
        """Take the memory; nothing is computed yet.

        Args:
            model: the model.
            block_size: tokens in a block of the KV cache.
            num_blocks: blocks in the pool; by default for 16,384 tokens, or one whole context if that is more.
            max_batch_tokens: the most tokens in one step, and the most requests that run at a time; 512 by default.
            preemption: what happens to the keys and values of a request that has to give way: "recompute" or "swap".

        Raises:
            ValueError: a wrong argument.
        """
        check_model(model)
        size = check_whole("block_size", block_size, 1)
        if num_blocks is None:
            num_blocks = -(-max(POOL_TOKENS, model.config.max_position_embeddings) // size)
        budget = BATCH_TOKENS if max_batch_tokens is None else check_whole("max_batch_tokens", max_batch_tokens, 1)
        if not isinstance(preemption, str) or preemption not in PREEMPTION:
            raise ValueError(f"preemption is {shown(preemption)}; expected one of {', '.join(PREEMPTION)}")
        self.model, self.pool = model, BlockPool(model, num_blocks, size)
        self.statistics = Statistics()
        self.scheduler = Scheduler(self.pool, budget, preemption == "swap", self.statistics)
        self._events: deque[Event] = deque()

    @property
    def has_work(self) -> bool:
        """Whether a request is not finished yet."""
        return bool(self.scheduler.running or self.scheduler.waiting)

    def submit(self, prompt_ids: Tokens, max_new_tokens: int = 32, sampling: Sampling | None = None) -> Request:
        """A new request joins the queue.

        Args:
            prompt_ids: the prompt's token ids, as `model.tokenizer.encode` gives them.
            max_new_tokens: the most tokens to add; the context may end sooner.
            sampling: how its tokens are chosen; greedy by default.

        Raises:
            ValueError: a wrong argument, or a request that could not run even if it had the pool for itself.
        """
        return self.submit_samples(prompt_ids, 1, max_new_tokens, sampling)[0]

    def submit_samples(
        self, prompt_ids: Tokens, n: int, max_new_tokens: int = 32, sampling: Sampling | None = None
    ) -> list[Request]:
        """Several answers to one prompt, whose keys and values they share (parallel sampling).

        Sample i is what a request of its own would give; if `sampling` has a seed, it has the seed `seed + i`.
        """
        check_whole("n", n, 1)
        group, requests = object(), []
        for i in range(n):
            completion = Completion(self.model, prompt_ids, max_new_tokens, _sampling_of(i, sampling))
            self._check_fits(completion)
            requests.append(PagedRequest(completion, self.statistics.steps, PagedKVCache(self.pool), group))
        for request in requests:
            self.scheduler.add(request)
        return list(requests)

    def cancel(self, request: Request) -> None:
        """End a request now, whatever it is doing. Nothing more is heard of it; one that is finished stays as it is.

        Raises:
            ValueError: it is not a request of this engine.
        """
        if not isinstance(request, Request):
            raise ValueError(f"request is of type {type(request).__name__}; expected what submit returned")
        if request.finished:
            return
        if request not in self.scheduler.running and request not in self.scheduler.waiting:
            raise ValueError("the request to cancel was not submitted to this engine")
        self._end(request, "cancelled")
        self.statistics.cancelled += 1
        self._events = deque(event for event in self._events if event.request is not request)

    def step(self) -> list[Event]:
        """One forward pass, if there is anything to run; returns a new token for each request that got one.

        If the forward pass is interrupted (by Ctrl-C, say), nothing is lost: the next step makes it again.
        """
        if self.has_work:
            self._advance()
        events, self._events = list(self._events), deque()
        return events

    def events(self) -> Iterator[Event]:
        """Run, and yield every new token of every request, until all are finished. More may be submitted meanwhile."""
        while self._events or self.has_work:
            if self._events:
                yield self._events.popleft()
            else:
                self._advance()

    def run(self) -> None:
        """Run until all requests are finished."""
        for _ in self.events():
            pass

    def _advance(self) -> None:
        plan = self.scheduler.schedule()
        assert plan, "requests are there, but none can run"
        ends = [request.remaining == len(tokens) for request, tokens in plan]  # the logits of the others are not needed
        batch = [(tokens, request.cache) for request, tokens in plan]
        logits = self._forward(batch, [int(end) for end in ends])
        self._count(plan)
        complete = [request for (request, _), end in zip(plan, ends, strict=True) if end]
        for request, _ in plan:
            request.cache.publish(request.sequence)
        for request, row in zip(complete, logits, strict=True):
            self._add_token(request, row)

    def _forward(self, batch: list[tuple[list[int], PagedKVCache]], logit_rows: list[int]) -> Array:
        """The forward pass of a step; everything else is the cost of scheduling, sampling and text."""
        return self.model.ops.to_host(forward_batch(self.model, batch, logit_rows))

    def _add_token(self, request: PagedRequest, logits: Array) -> None:
        step = request.completion.add(logits)
        if request.first_token_step is None:
            request.first_token_step = self.statistics.steps
        if step.finish_reason:
            self._end(request, step.finish_reason)
            self.statistics.finished += 1
        self._events.append(Event(request, step))

    def _end(self, request: Request, finish_reason: str) -> None:
        assert isinstance(request, PagedRequest)
        self.scheduler.remove(request)
        request.finish_reason, request.finished_step = finish_reason, self.statistics.steps

    def _count(self, plan: Plan) -> None:
        counts = self.statistics
        counts.steps += 1
        counts.decode_tokens += sum(len(tokens) == 1 for _, tokens in plan)
        counts.prefill_tokens += sum(len(tokens) for _, tokens in plan if len(tokens) > 1)
        counts.held_blocks += self.pool.held
        tables = sum(len(request.cache.table) for request in self.scheduler.running)
        counts.most_held_blocks = max(counts.most_held_blocks, self.pool.held)
        counts.most_table_blocks = max(counts.most_table_blocks, tables)
        empty = sum(request.cache.capacity - request.cache.length for request in self.scheduler.running)
        counts.filled_slots += self.pool.held * self.pool.block_size - empty  # only last blocks have room, unshared

    def _check_fits(self, completion: Completion) -> None:
        """Refuse what could never run: the last new token is not fed back, all others take a slot each."""
        slots, size = completion.most_cached, self.pool.block_size
        need = self.pool.blocks_for(slots)
        if need > self.pool.num_blocks:
            raise ValueError(
                f"{completion.prompt_tokens} tokens of the prompt and {completion.max_new_tokens - 1} of "
                f"{completion.max_new_tokens} new ones need {slots} slots, which are {need} blocks of {size}, but the "
                f"pool has {self.pool.num_blocks}; pass num_blocks={need}, or fewer max_new_tokens"
            )


def _sampling_of(sample: int, sampling: Sampling | None) -> Sampling | None:
    """What the sample of this number is drawn with: a seed of its own, or else all samples would be the same."""
    if not isinstance(sampling, Sampling) or sampling.seed is None:
        return sampling
    return replace(sampling, seed=sampling.seed + sample)
