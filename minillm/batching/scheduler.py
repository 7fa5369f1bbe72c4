"""Scheduler: before every step, which tokens of which requests take part.

*Iteration-level scheduling* (Yu et al., Orca, OSDI 2022): a request joins as soon as there is room and leaves as soon
as it is finished, without waiting for the others. *Stall-free batches* (Agrawal et al., Sarathi-Serve, 2403.02310):
within a budget of tokens a step first takes one token of every request that decodes, then fills up with chunks of
prompts. *First come, first served*: the running requests are always the earliest of those not finished. Admission
stops at the first that does not fit, so nobody overtakes, and when blocks run out the latest gives its own up
(Kwon et al., vLLM, 2309.06180, section 4.5). So the earliest always gets on, and nobody starves.
"""

from collections import deque

from minillm.batching.request import PagedRequest
from minillm.batching.statistics import Statistics
from minillm.kv_cache.paged import BlockPool
from minillm.support.interrupts import defer_interrupts

Plan = list[tuple[PagedRequest, list[int]]]  # requests in order of arrival, each with its tokens to run next


class Scheduler:
    """Two queues in order of arrival.

    Attributes:
        running: requests that hold blocks.
        waiting: requests that hold none: new ones, behind those that were preempted.
    """

    def __init__(self, pool: BlockPool, max_batch_tokens: int, swap: bool, statistics: Statistics) -> None:
        """No requests yet. `swap` says how preempted requests go on: copied back, or else computed again."""
        self.pool, self.max_batch_tokens, self.swap, self.statistics = pool, max_batch_tokens, swap, statistics
        self.running: list[PagedRequest] = []
        self.waiting: deque[PagedRequest] = deque()

    def add(self, request: PagedRequest) -> None:
        """A new request joins the end of the queue."""
        self.waiting.append(request)

    def remove(self, request: PagedRequest) -> None:
        """A request leaves, finished or not; its blocks are free for others."""
        (self.running if request in self.running else self.waiting).remove(request)
        request.cache.free()
        request.swapped = None

    @defer_interrupts()
    def schedule(self) -> Plan:
        """The next step: at most max_batch_tokens tokens, for which all blocks are taken."""
        preemptions = self.statistics.preemptions
        plan = self._continue_running()
        budget = self.max_batch_tokens - sum(len(tokens) for _, tokens in plan)
        if self.statistics.preemptions > preemptions:
            return plan  # blocks are short: nobody new
        # Whoever runs has a token in the plan, or the budget is used up; so no more run than the budget has tokens.
        while self.waiting and budget and self.admit(self.waiting[0]):
            request = self.running[-1]
            tokens = request.next_tokens(budget)
            if tokens:
                plan.append((request, tokens))
            budget -= len(tokens)
        return plan

    def admit(self, request: PagedRequest) -> bool:
        """Let the first of the waiting run if there are blocks for all its tokens so far; they are taken at once."""
        if self._awaits_its_prompt(request):
            return False
        self._begin_with_known_blocks(request)
        known = request.cache.length
        if request.cache.blocks_needed(request.slots_needed) > self.pool.available:
            request.cache.free()
            return False
        if request.swapped is not None:
            request.cache.swap_in(request.swapped)
        request.cache.reserve(request.slots_needed)
        request.swapped = None
        self.statistics.prefix_tokens += known
        self.running.append(self.waiting.popleft())
        return True

    def preempt(self, request: PagedRequest) -> None:
        """Take all blocks from a running request; it will go on as if nothing had happened.

        By *swap*, keys and values are copied out and later in again; by *recompute*, its tokens so far are simply a
        longer prompt. (vLLM preempts the samples of one prompt together; here each is a request of its own, and what
        they share is still shared when they come back.)
        """
        if self.swap and request.cache.length:
            request.swapped = request.cache.swap_out()
            self.statistics.swapped_tokens += request.swapped.length
        request.cache.free()
        self.running.remove(request)
        self.waiting.appendleft(request)
        self.statistics.preemptions += 1

    def _continue_running(self) -> Plan:
        for request in self.running:
            leave_one_to_run(request)
        shares = self._share_budget()
        plan: Plan = []
        for place, request in enumerate(list(self.running)):  # the earliest first
            tokens = shares[place]
            if place == len(self.running) or not self._make_room(request, len(tokens)):
                break  # preempted, and so are all that came after it
            if tokens:
                plan.append((request, tokens))
        return plan

    def _share_budget(self) -> list[list[int]]:
        """The tokens that each running request may run: first of all that decode, then chunks of prompts."""
        budget, shares = self.max_batch_tokens, [list[int]() for _ in self.running]
        for decodes in (True, False):
            for place, request in enumerate(self.running):
                if (request.remaining == 1) == decodes:
                    shares[place] = request.next_tokens(budget)
                    budget -= len(shares[place])
        return shares

    def _make_room(self, request: PagedRequest, new_tokens: int) -> bool:
        """Take blocks for the tokens of a running request, from the latest if need be; False if that was itself."""
        while request.cache.blocks_needed(new_tokens) > self.pool.available:
            latest = self.running[-1]
            self.preempt(latest)
            if latest is request:
                return False
        request.cache.reserve(new_tokens)
        return True

    def _begin_with_known_blocks(self, request: PagedRequest) -> None:
        """Share blocks that hold the first tokens already: of a known prefix, or of another sample of the prompt."""
        request.cache.free()  # of an admission that was interrupted
        known = request.cache.adopt_prefix(request.sequence)
        shareable = min(request.completion.prompt_tokens, len(request.sequence) - 1)
        samples = [other for other in self._samples_beside(request) if other.prompt_is_cached]
        if samples and shareable > known:
            request.cache.free()
            request.cache = samples[0].cache.fork()
            request.cache.truncate(shareable)

    def _awaits_its_prompt(self, request: PagedRequest) -> bool:
        """Whether the prompt is just being computed for another sample."""
        samples = self._samples_beside(request)
        return bool(samples) and not any(other.prompt_is_cached for other in samples)

    def _samples_beside(self, request: PagedRequest) -> list[PagedRequest]:
        return [other for other in self.running if other.group is request.group]


def leave_one_to_run(request: PagedRequest) -> None:
    """Truncate a cache that holds all tokens, as an interrupted step leaves it: only a token that runs has logits."""
    if request.remaining < 1:  # guesses may lie behind them
        request.cache.truncate(len(request.sequence) - 1)
