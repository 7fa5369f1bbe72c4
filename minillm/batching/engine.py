"""Engine: continuous batching. Each step is one forward pass over the tokens that the scheduler has chosen.

A step has six stages:

    draft      each request proposes draft tokens, if the engine has a drafter
    schedule   choose the tokens of this step, take their blocks, preempt if blocks run out
    forward    one ragged batch for all requests
    sample     from its logits, each request gets a token; a round of speculation verifies its draft instead
    publish    full blocks become known prefixes
    finish     requests that end give their blocks back

Requests may be submitted and cancelled at any time between steps. On the exact backend the tokens of a request never
depend on the others: they are those of `generate` for it alone. On the other backends the last digits of logits depend
on the batch, so a token can differ where two are almost equally probable. With a drafter the tokens are those of
`speculative_generate`, and each request may accept a different number of draft tokens.
"""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from minillm.arrays import Array, Float
from minillm.batching.request import PagedRequest, Request, ScheduledTokens
from minillm.batching.scheduler import Plan, Scheduler
from minillm.batching.statistics import Statistics
from minillm.completion import DEFAULT_NEW_TOKENS, Completion, Step
from minillm.events import Event, Finished, tell
from minillm.generation import Prompt, encode_prompt
from minillm.kv_cache.cache import memory_kind
from minillm.kv_cache.paged import BlockPool, PagedKVCache
from minillm.model import Model, check_model
from minillm.sampling import Sampling
from minillm.speculative import DrafterChoice, Speculator
from minillm.support.checks import check_choice, check_integer
from minillm.support.interrupts import defer_interrupts
from minillm.support.wording import counted
from minillm.transformer import forward_batch

POOL_TOKENS = 16_384  # by default; most systems do not back pages with memory until they are written
BATCH_TOKENS = 512  # by default; about where larger chunks no longer make prefill faster
PREEMPTION = ("recompute", "swap")


@dataclass(frozen=True)
class NewToken:
    """An event: `request` has a new token. `step.finish_reason` says whether it is the last one.

    Example:
        >>> engine = minillm.Engine(minillm.load("story"))
        >>> request = engine.submit("The capital of France is", max_new_tokens=3)
        >>> [event.step.text for event in engine.events() if event.request is request]
        [' P', 'aris', '.']
    """

    request: Request
    step: Step


class Engine:
    """Many requests to one model, in one batch. Threads may share it: they take turns at its steps.

    Attributes:
        model: the model.
        pool: the blocks of all keys and values.
        scheduler: the running and the waiting requests.
        statistics: counts since the engine was made.

    Example:
        >>> engine = minillm.Engine(minillm.load("story"))
        >>> request = engine.submit("The capital of France is", max_new_tokens=2)
        >>> engine.run()
        >>> request.text, request.finish_reason
        (' Paris', 'length')
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
        cache_dtype: str | None = None,
    ) -> None:
        """Reserve the memory; nothing is computed yet.

        Args:
            model: the model.
            block_size: tokens in a block of the KV cache.
            num_blocks: blocks in the pool; by default for 16,384 tokens, or for one whole context if that is more. In
                int8 the same memory has blocks for more tokens: for 3.76 times as many with float32 and head_dim 64.
            max_batch_tokens: the most tokens in a step, and the most requests that run at a time; by default 512.
            preemption: what happens to the keys and values of a preempted request: "recompute" or "swap".
            drafter: drafts the tokens of every request: a Model, a PromptLookup, or a function that returns a new
                Drafter for each request; by default there is no speculation.
            k: draft tokens in a round, as in `speculative_generate`.
            cache_dtype: "int8" to store keys and values in 8 bits, as in `KVCache`; those of a draft model too.

        Raises:
            ValueError: a wrong argument, or not enough memory.
        """
        check_model(model)
        size = check_integer("block_size", block_size, 1)
        if num_blocks is None:
            num_blocks = -(-_default_tokens(model, cache_dtype) // size)
        budget = BATCH_TOKENS if max_batch_tokens is None else check_integer("max_batch_tokens", max_batch_tokens, 1)
        check_choice("preemption", preemption, PREEMPTION)
        self.speculator = None if drafter is None else Speculator(model, drafter, k, True, cache_dtype)
        most = self.speculator.max_draft_tokens if self.speculator else 0
        if most >= budget:
            a_round = f"a round of {counted(most, 'draft token')} is {counted(most + 1, 'row')}"
            raise ValueError(f"{a_round}, but max_batch_tokens is {budget}")
        self.model = model
        self.pool = BlockPool(model, num_blocks, size, cache_dtype)
        self.statistics = Statistics()
        self.scheduler = Scheduler(self.pool, budget, preemption == "swap", self._tell)
        self._events: deque[NewToken] = deque()
        self._turn = threading.RLock()  # held by the thread that changes something

    def __repr__(self) -> str:
        running, waiting = len(self.scheduler.running), len(self.scheduler.waiting)
        blocks = f"{self.pool.used} of {counted(self.pool.num_blocks, 'block')} used"
        return f"Engine({self.model.name!r}, {running} running, {waiting} waiting, {blocks})"

    @property
    def has_work(self) -> bool:
        """Whether a request is not finished yet."""
        return bool(self.scheduler.running or self.scheduler.waiting)

    def submit(
        self, prompt: Prompt, max_new_tokens: int = DEFAULT_NEW_TOKENS, sampling: Sampling | None = None
    ) -> Request:
        """Append a new request to the queue.

        Args:
            prompt: text, chat messages or token ids, exactly as in `generate`.
            max_new_tokens: the most tokens to add; the model's context may end sooner.
            sampling: how its tokens are chosen; greedy by default.

        Raises:
            ValueError: a wrong argument, or a request that does not fit into the pool even if it is alone.
        """
        return self.submit_samples(prompt, 1, max_new_tokens, sampling)[0]

    def submit_samples(
        self, prompt: Prompt, n: int, max_new_tokens: int = DEFAULT_NEW_TOKENS, sampling: Sampling | None = None
    ) -> list[Request]:
        """Append `n` requests with the same prompt, whose keys and values they share (parallel sampling).

        Sample i is what a request of its own would give. If `sampling` has a seed, sample i has the seed `seed + i`.
        """
        check_integer("n", n, 1)
        group, ids = object(), encode_prompt(self.model, prompt)
        with self._turn:
            requests = [self._new_request(ids, max_new_tokens, _sampling_of(i, sampling), group) for i in range(n)]
            self.scheduler.waiting.extend(requests)  # one call: Ctrl-C leaves all of them in the queue or none
            for request in requests:
                self._tell(request.completion.submitted(group))
        return list(requests)

    @defer_interrupts()
    def cancel(self, request: Request) -> None:
        """End a request now. No more events of it come. A request that is finished stays as it is.

        Raises:
            ValueError: it is not a request of this engine.
        """
        if not isinstance(request, Request):
            raise ValueError(f"request is of type {type(request).__name__}; expected what submit returned")
        with self._turn:
            if request.finished:
                return
            if request not in self.scheduler.running and request not in self.scheduler.waiting:
                raise ValueError("the request to cancel was not submitted to this engine")
            self._end(request, "cancelled")
            self._events = deque(event for event in self._events if event.request is not request)

    def step(self) -> list[NewToken]:
        """Make one forward pass, if there is anything to run. Return one event for each new token.

        If the step is interrupted (by Ctrl-C, for example), nothing is lost: the next step makes the pass again.

        Raises:
            ValueError: the logits of a request are not finite; the other requests have their tokens.
        """
        with self._turn:
            if self.has_work:
                self._advance()
            events, self._events = list(self._events), deque()
            return events

    def events(self) -> Iterator[NewToken]:
        """Run until all requests are finished, and yield every new token once. More may be submitted meanwhile."""
        while event := self._next_event():
            yield event

    def _next_event(self) -> NewToken | None:
        """Return the oldest event that nobody has seen, after as many steps as it takes; None at the end."""
        with self._turn:
            while not self._events and self.has_work:
                self._advance()
            return self._events.popleft() if self._events else None

    def run(self) -> None:
        """Run until all requests are finished."""
        for _ in self.events():
            pass

    def _advance(self) -> None:
        """Make one step. Ctrl-C can interrupt drafting and the forward pass, but not the bookkeeping."""
        for request in self.scheduler.running:
            request.propose()
        with defer_interrupts():
            for request in self.scheduler.running:
                request.drop_interrupted_pass()
            plan = self.scheduler.schedule()
        assert plan, "requests are there, but none can run"
        logits = self._forward(plan)
        with defer_interrupts():
            self.scheduler.end_step(plan)
            self._process_logits(plan, logits)

    def _forward(self, plan: Plan) -> Float[Array, "rows vocab"]:
        """Run the forward pass of a step, and return the rows of logits that the plan asks for."""
        batch = [(entry.rows, entry.request.kv_cache) for entry in plan]
        return self.model.ops.to_host(forward_batch(self.model, batch, [entry.logit_rows for entry in plan]))

    def _process_logits(self, plan: Plan, logits: Float[Array, "rows vocab"]) -> None:
        """Give each request its rows of the logits.

        If one request's logits are not finite, the others get their tokens first, and then the ValueError is raised.
        That request stays as it is. It raises again in every step until it is cancelled.
        """
        first, problems = 0, list[ValueError]()
        for entry in plan:
            rows = logits[first : first + entry.logit_rows]
            first += entry.logit_rows
            try:
                self._add_tokens(entry, rows)
            except ValueError as problem:
                problems.append(problem)
        if problems:
            raise problems[0]

    def _add_tokens(self, entry: ScheduledTokens, logits: Float[Array, "rows vocab"]) -> None:
        """Add new tokens to a request: none before the end of its prompt, one, or several of a round of speculation."""
        request, new = entry.request, list[Step]()
        if request.speculation and request.speculation.draft and entry.logit_rows:
            new = request.speculation.verify(request.completion, logits)
            request.cache.truncate(len(request.sequence) - 1)
        elif entry.logit_rows:
            new = [request.completion.add(logits[0])]
        request.cache.publish(request.sequence)
        if new and request.first_token_step is None:
            request.first_token_step = self.statistics.steps
        if request.completion.finish_reason:
            self._end(request, "finished")
        self._events += [NewToken(request, step) for step in new]

    def _end(self, request: Request, status: str) -> None:
        assert isinstance(request, PagedRequest)
        self.scheduler.remove(request)
        request.status, request.finished_step = status, self.statistics.steps
        self._tell(Finished(request.completion, request.finish_reason))

    def _tell(self, event: Event) -> None:
        """Count an event in the statistics, and tell it to the listener."""
        self.statistics.count(event)
        tell(event)

    def _new_request(
        self, prompt_ids: list[int], max_new_tokens: int, sampling: Sampling | None, group: object
    ) -> PagedRequest:
        completion = Completion.of(self.model, prompt_ids, max_new_tokens, sampling)
        self._check_fits(completion)
        speculation = self.speculator.begin(completion, self._tell) if self.speculator else None
        return PagedRequest(completion, self.statistics.steps, PagedKVCache(self.pool), group, speculation)

    def _check_fits(self, completion: Completion) -> None:
        """Refuse a request that could never run. Its last new token needs no slot, because it is not fed back."""
        slots, size = completion.max_cached_tokens, self.pool.block_size
        need = self.pool.blocks_for(slots)
        if need > self.pool.num_blocks:
            raise ValueError(
                f"{counted(completion.prompt_tokens, 'token')} of the prompt and {completion.max_new_tokens - 1} of "
                f"{completion.max_new_tokens} new ones need {counted(slots, 'slot')}, which are "
                f"{counted(need, 'block')} of {size}, but the pool has {self.pool.num_blocks}; "
                f"pass num_blocks={need}, or fewer max_new_tokens"
            )


def _default_tokens(model: Model, cache_dtype: str | None) -> int:
    """Return the tokens of the default pool: as many as fit into the memory of 16,384 tokens in the model's dtype."""
    floats, stored = (memory_kind(model, dtype).bytes_of(model, POOL_TOKENS) for dtype in (None, cache_dtype))
    fit = POOL_TOKENS * floats // stored if stored else POOL_TOKENS  # 0 bytes: a model without layers
    return max(fit, model.config.max_position_embeddings)


def _sampling_of(sample: int, sampling: Sampling | None) -> Sampling | None:
    """Return the sampling of sample number `sample`, with a seed of its own; else all samples would be equal."""
    if not isinstance(sampling, Sampling) or sampling.seed is None:
        return sampling
    return replace(sampling, seed=sampling.seed + sample)
