"""Engine: continuous batching. Each step is one forward pass over whatever the scheduler has picked for it.

    engine = minillm.Engine(model)
    request = engine.submit(model.tokenizer.encode("Once upon a time"), max_new_tokens=50)
    for event in engine.events():
        print(event.step.text, end="")

Requests may be submitted and cancelled at any time between steps. What a request produces never depends on the
others: it is what `generate` gives for it alone, to the bit on the exact backend. With a drafter each request guesses
ahead, the guesses of all are verified in the same pass, and each accepts its own number (`speculative/rounds.py`);
then it is what `speculative_generate` gives.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from minillm.arrays import Array, Float, Tokens
from minillm.batching.request import PagedRequest, Request
from minillm.batching.scheduler import Plan, Scheduler
from minillm.batching.statistics import Statistics
from minillm.completion import Completion, Step
from minillm.kv_cache.paged import BlockPool, PagedKVCache
from minillm.model import Model, check_model
from minillm.sampling import Sampling
from minillm.speculative import ACCEPTED, DrafterChoice, Speculator
from minillm.support.checks import check_integer, shown
from minillm.support.interrupts import defer_interrupts
from minillm.transformer import forward_batch

POOL_TOKENS = 16_384  # by default; memory for keys and values that are never written is never touched
BATCH_TOKENS = 512  # by default; about where larger chunks no longer make prefill faster
PREEMPTION = ("recompute", "swap")


@dataclass(frozen=True)
class NewToken:
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
        drafter: DrafterChoice | None = None,
        k: int | str = "auto",
    ) -> None:
        """Take the memory; nothing is computed yet.

        Args:
            model: the model.
            block_size: tokens in a block of the KV cache.
            num_blocks: blocks in the pool; by default for 16,384 tokens, or one whole context if that is more.
            max_batch_tokens: the most tokens in one step, and the most requests that run at a time; 512 by default.
            preemption: what happens to the keys and values of a request that has to give way: "recompute" or "swap".
            drafter: drafts the tokens of every request: a Model, a PromptLookup, or a function that returns a new
                Drafter for each request; by default there is no speculation.
            k: draft tokens in a round, as in `speculative_generate`.

        Raises:
            ValueError: a wrong argument.
        """
        check_model(model)
        size = check_integer("block_size", block_size, 1)
        if num_blocks is None:
            num_blocks = -(-max(POOL_TOKENS, model.config.max_position_embeddings) // size)
        budget = BATCH_TOKENS if max_batch_tokens is None else check_integer("max_batch_tokens", max_batch_tokens, 1)
        if not isinstance(preemption, str) or preemption not in PREEMPTION:
            raise ValueError(f"preemption is {shown(preemption)}; expected one of {', '.join(PREEMPTION)}")
        self.speculator = None if drafter is None else Speculator(model, drafter, k, many_requests=True)
        most = self.speculator.max_draft_tokens if self.speculator else 0
        if most >= budget:
            raise ValueError(f"a round of {most} draft tokens is {most + 1} rows, but max_batch_tokens is {budget}")
        self.model, self.pool = model, BlockPool(model, num_blocks, size)
        self.statistics = Statistics()
        self.scheduler = Scheduler(self.pool, budget, preemption == "swap", self.statistics)
        self._events: deque[NewToken] = deque()

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

    @defer_interrupts()
    def submit_samples(
        self, prompt_ids: Tokens, n: int, max_new_tokens: int = 32, sampling: Sampling | None = None
    ) -> list[Request]:
        """Several answers to one prompt, whose keys and values they share (parallel sampling).

        Sample i is what a request of its own would give; if `sampling` has a seed, it has the seed `seed + i`.
        """
        check_integer("n", n, 1)
        group, requests = object(), []
        for i in range(n):
            completion = Completion(self.model, prompt_ids, max_new_tokens, _sampling_of(i, sampling))
            self._check_fits(completion)
            cache = PagedKVCache(self.pool)
            speculation = self.speculator.begin(completion) if self.speculator else None
            requests.append(PagedRequest(completion, self.statistics.steps, cache, group, speculation))
        for request in requests:
            self.scheduler.add(request)
        return list(requests)

    @defer_interrupts()
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

    def step(self) -> list[NewToken]:
        """One forward pass, if there is anything to run; returns a new token for each request that got one.

        If it is interrupted (by Ctrl-C, say), nothing is lost: the next step goes on, and makes the pass again.
        """
        if self.has_work:
            self._advance()
        events, self._events = list(self._events), deque()
        return events

    def events(self) -> Iterator[NewToken]:
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
        for request in self.scheduler.running:
            request.guess()
        plan = self.scheduler.schedule()
        assert plan, "requests are there, but none can run"
        # Logits after its last token, and after each guess behind it; none for a part of a prompt.
        rows = [max(0, len(tokens) - request.remaining + 1) for request, tokens in plan]
        batch = [(tokens, request.cache) for request, tokens in plan]
        self._settle(plan, rows, self._forward(batch, rows))

    def _forward(self, batch: list[tuple[list[int], PagedKVCache]], logit_rows: list[int]) -> Array:
        """The forward pass of a step; everything else is the cost of scheduling, sampling and text."""
        return self.model.ops.to_host(forward_batch(self.model, batch, logit_rows))

    @defer_interrupts()
    def _settle(self, plan: Plan, rows: list[int], logits: Float[Array, "wanted vocab"]) -> None:
        """Give each request its logits. Those of one may be no numbers, which is its own affair: the others go on."""
        self._count(plan)
        problems = list[ValueError]()
        for (request, _), count, end in zip(plan, rows, np.cumsum(rows), strict=True):
            try:
                if count:
                    self._add_tokens(request, logits[end - count : end])
                else:
                    request.cache.publish(request.sequence)
            except ValueError as problem:
                problems.append(problem)
        if problems:
            raise problems[0]

    def _add_tokens(self, request: PagedRequest, logits: Array) -> None:
        """The request's new tokens, one or, in a round of speculation, perhaps more."""
        if request.speculation and request.speculation.draft:
            steps = request.speculation.verify(request.completion, logits)
            request.cache.truncate(len(request.sequence) - 1)
            self.statistics.accepted_tokens += sum(step.origin == ACCEPTED for step in steps)
        else:
            steps = [request.completion.add(logits[0])]
        request.cache.publish(request.sequence)
        if request.first_token_step is None:
            request.first_token_step = self.statistics.steps
        if steps[-1].finish_reason:
            self._end(request, steps[-1].finish_reason)
            self.statistics.finished += 1
        self._events += [NewToken(request, step) for step in steps]

    def _end(self, request: Request, finish_reason: str) -> None:
        assert isinstance(request, PagedRequest)
        self.scheduler.remove(request)
        request.finish_reason, request.finished_step = finish_reason, self.statistics.steps

    def _count(self, plan: Plan) -> None:
        counts = self.statistics
        counts.steps += 1
        guesses = [max(0, -request.remaining) for request, _ in plan]  # they lie in the cache behind the sequence
        own = [len(tokens) - count for (_, tokens), count in zip(plan, guesses, strict=True)]
        counts.decode_tokens += own.count(1)
        counts.prefill_tokens += sum(count for count in own if count > 1)
        counts.draft_tokens += sum(guesses)
        counts.used_blocks += self.pool.used
        tables = sum(len(request.cache.table) for request in self.scheduler.running)
        counts.peak_used_blocks = max(counts.peak_used_blocks, self.pool.used)
        counts.peak_table_blocks = max(counts.peak_table_blocks, tables)
        empty = sum(request.cache.capacity - request.cache.length for request in self.scheduler.running)
        counts.filled_slots += self.pool.used * self.pool.block_size - empty  # only last blocks have room, unshared

    def _check_fits(self, completion: Completion) -> None:
        """Refuse what could never run: the last new token is not fed back, all others take a slot each."""
        slots, size = completion.max_cached_tokens, self.pool.block_size
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
