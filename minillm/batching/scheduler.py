"""Scheduler: which tokens of which requests take part in the next step.

*Iteration-level scheduling* (Yu et al., Orca, OSDI 2022): a request joins as soon as there is room, and leaves as soon
as it is finished, without waiting for the others.

*Stall-free batches* (Agrawal et al., Sarathi-Serve, 2403.02310): a step has a budget of tokens. It first takes one
token of every request that decodes, then fills up with chunks of prompts.

*First come, first served*: the running requests are always the earliest of those not finished. Admission stops at the
first request that does not fit, so none overtakes another. When blocks run out, the latest request is preempted (Kwon
et al., vLLM, 2309.06180, section 4.5). So the earliest request always proceeds, and none starves.

    budget 8, four running requests:     A decodes   B decodes   C has 9 tokens to prefill   D has 4
    the step:                            1 token     1 token     6 tokens (a chunk)          0 tokens
"""

from collections import deque

from minillm.batching.request import PagedRequest, ScheduledTokens
from minillm.events import Admitted, Preempted, StepEnded, Tell
from minillm.kv_cache.blocks import BlockAllocator

Plan = list[ScheduledTokens]  # of one step, in the requests' order of arrival


class Scheduler:
    """Two queues in order of arrival.

    Attributes:
        running: requests with blocks.
        waiting: requests without blocks: preempted ones first, then new ones.
    """

    def __init__(self, pool: BlockAllocator, max_batch_tokens: int, swap: bool, tell: Tell) -> None:
        """Begin without requests. With `swap`, preempted keys and values are copied back later, else recomputed."""
        self.pool = pool
        self.max_batch_tokens = max_batch_tokens
        self.swap = swap
        self.tell = tell
        self.running: list[PagedRequest] = []
        self.waiting: deque[PagedRequest] = deque()

    def add(self, request: PagedRequest) -> None:
        """Append a new request to the queue."""
        self.waiting.append(request)

    def remove(self, request: PagedRequest) -> None:
        """Remove a request, finished or not, and free its blocks."""
        (self.running if request in self.running else self.waiting).remove(request)
        request.cache.free()
        request.swapped = None

    def schedule(self) -> Plan:
        """Choose at most `max_batch_tokens` tokens for the next step, and take all blocks that they need."""
        running = len(self.running)
        plan = self._continue_running()
        budget = self.max_batch_tokens - sum(len(entry.rows) for entry in plan)
        if len(self.running) < running:  # some were preempted
            return plan  # blocks are short: admit no new request
        # Requests join only while there is budget left, so at most `max_batch_tokens` requests run.
        while self.waiting and budget and self.admit(self.waiting[0]):
            entry = self.running[-1].next_tokens(budget)
            if entry.rows:
                plan.append(entry)
            budget -= len(entry.rows)
        return plan

    def admit(self, request: PagedRequest) -> bool:
        """Move the first waiting request to the running ones, if there are blocks for all its tokens so far."""
        if self._awaits_its_prompt(request):
            return False
        self._begin_with_known_blocks(request)
        known = request.cache.length
        if request.cache.blocks_needed(request.slots_needed) > self.pool.available:
            request.cache.free()
            return False
        if request.swapped is not None:
            request.kv_cache.swap_in(request.swapped)
        request.cache.reserve(request.slots_needed)
        request.swapped = None
        request.status = "running"
        self.running.append(self.waiting.popleft())
        self.tell(Admitted(request.completion, request.cache, known, request.cache.length - known))
        return True

    def preempt(self, request: PagedRequest) -> None:
        """Take all blocks from a running request, and put it first in the queue. Its output does not change.

        With *swap*, keys and values are copied out, and in again later. With *recompute*, its tokens so far are simply
        a longer prompt. (vLLM preempts the samples of one prompt together. Here each is a request of its own, and
        samples share blocks again when they resume.)
        """
        if self.swap and request.cache.length:
            request.swapped = request.kv_cache.swap_out()
        else:
            request.cache.free()
        request.status = "waiting"
        self.running.remove(request)
        self.waiting.appendleft(request)
        self.tell(Preempted(request.completion, request.swapped.length if request.swapped else 0))

    def end_step(self, plan: Plan) -> None:
        """Tell what a step ran, after its forward pass, and which blocks are used."""
        own = [len(entry.tokens) for entry in plan]
        tables, pool = [request.cache for request in self.running], self.pool
        empty = sum(table.capacity - table.length for table in tables)  # only last blocks have empty slots
        self.tell(
            StepEnded(
                prefill_tokens=sum(count for count in own if count > 1),
                decode_tokens=own.count(1),
                draft_tokens=sum(len(entry.draft_tokens) for entry in plan),
                budget=self.max_batch_tokens,
                running=len(self.running),
                waiting=len(self.waiting),
                used_blocks=pool.used,
                table_blocks=sum(len(table.table) for table in tables),
                filled_slots=pool.used * pool.block_size - empty,
            )
        )

    def _continue_running(self) -> Plan:
        plan: Plan = []
        for entry in self._share_budget():  # the earliest request first
            if entry.request.status != "running" or not self._make_room(entry):
                break  # preempted, and so are all later requests
            if entry.rows:
                plan.append(entry)
        return plan

    def _share_budget(self) -> list[ScheduledTokens]:
        """Return the next tokens of each running request. Those that decode come first, then chunks of prompts."""
        budget, chosen = self.max_batch_tokens, dict[PagedRequest, ScheduledTokens]()
        for decodes in (True, False):
            for request in self.running:
                if (request.remaining == 1) == decodes:
                    chosen[request] = request.next_tokens(budget)
                    budget -= len(chosen[request].rows)
        return [chosen[request] for request in self.running]

    def _make_room(self, entry: ScheduledTokens) -> bool:
        """Take blocks for these tokens, and preempt the latest requests for them.

        Return False if the request itself was preempted.
        """
        request, new_tokens = entry.request, len(entry.rows)
        while request.cache.blocks_needed(new_tokens) > self.pool.available:
            latest = self.running[-1]
            self.preempt(latest)
            if latest is request:
                return False
        request.cache.reserve(new_tokens)
        return True

    def _begin_with_known_blocks(self, request: PagedRequest) -> None:
        """Share blocks that already hold its first tokens: a known prefix, or the prompt of another sample."""
        request.cache.free()  # of an admission that was interrupted
        known = request.cache.adopt_prefix(request.sequence)
        shareable = min(request.completion.prompt_tokens, len(request.sequence) - 1)
        samples = [other for other in self._running_samples(request) if other.prompt_is_cached]
        if samples and shareable > known:
            request.cache.free()
            request.cache = samples[0].cache.fork()
            request.cache.truncate(shareable)

    def _awaits_its_prompt(self, request: PagedRequest) -> bool:
        """Return whether another sample is computing the same prompt now."""
        samples = self._running_samples(request)
        return bool(samples) and not any(other.prompt_is_cached for other in samples)

    def _running_samples(self, request: PagedRequest) -> list[PagedRequest]:
        return [other for other in self.running if other.group is request.group]
