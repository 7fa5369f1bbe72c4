"""Request: one prompt on its way to its answer, as the user sees it, and what a scheduler keeps with it.

Time is counted in steps: forward passes of the whole batch. Steps describe a schedule independently of the machine.
"""

from dataclasses import dataclass, field

from minillm.completion import Completion, TokenLogprobs
from minillm.kv_cache.block_table import BlockTable
from minillm.kv_cache.memory import SwappedCache
from minillm.kv_cache.paged import PagedKVCache
from minillm.speculative import Speculation


class Request:
    """One request.

    Attributes:
        completion: the answer as it grows.
        status: "waiting", "running", "finished" (the answer is complete) or "cancelled".
        arrived_step: number of steps that the engine had made when the request was submitted.
        first_token_step: number of steps after which its first token was there; None before.
        finished_step: number of steps after which it was finished or cancelled; None before.

    Example:
        >>> engine = minillm.Engine(minillm.load("story"))
        >>> request = engine.submit("The capital of France is", max_new_tokens=3)
        >>> engine.run()
        >>> request.status, request.tokens, request.first_token_step, request.finished_step
        ('finished', [379, 1910, 14], 1, 3)
    """

    def __init__(self, completion: Completion, arrived_step: int) -> None:
        self.completion = completion
        self.status = "waiting"
        self.arrived_step = arrived_step
        self.first_token_step: int | None = None
        self.finished_step: int | None = None

    def __repr__(self) -> str:
        prompt, new = self.completion.prompt_tokens, len(self.tokens)
        return f"Request(status={self.status!r}, prompt_tokens={prompt}, new_tokens={new})"

    @property
    def tokens(self) -> list[int]:
        """The new token ids so far."""
        return self.completion.tokens

    @property
    def text(self) -> str:
        """The text so far, up to a stop string."""
        return self.completion.text

    @property
    def logprobs(self) -> list[TokenLogprobs]:
        """One entry for each new token, if `Sampling.logprobs` asked for them."""
        return self.completion.logprobs

    @property
    def finished(self) -> bool:
        """Whether no more tokens will come."""
        return self.status in ("finished", "cancelled")

    @property
    def finish_reason(self) -> str:
        """Why no more tokens will come: see `Completion.finish_reason`, or "cancelled"; "" before."""
        return {"finished": self.completion.finish_reason, "cancelled": "cancelled"}.get(self.status, "")

    @property
    def latency_steps(self) -> int | None:
        """Number of steps from its arrival until it was finished; None before."""
        return None if self.finished_step is None else self.finished_step - self.arrived_step


class PagedRequest(Request):
    """A request that a scheduler can preempt and resume.

    Attributes:
        group: the same object for all samples of one prompt; they share its blocks.
        cache: the blocks of its first tokens; empty while it waits.
        swapped: what the cache held, if its blocks were swapped out.
        speculation: drafts its next tokens; None without speculative decoding.
    """

    def __init__(
        self,
        completion: Completion,
        arrived_step: int,
        cache: BlockTable,
        group: object,
        speculation: Speculation | None = None,
    ) -> None:
        super().__init__(completion, arrived_step)
        self.cache = cache
        self.group = group
        self.speculation = speculation
        self.swapped: SwappedCache | None = None

    @property
    def sequence(self) -> list[int]:
        """All its tokens: the prompt, then the new ones. The cache holds the first of them."""
        return self.completion.sequence

    @property
    def kv_cache(self) -> PagedKVCache:
        """The cache with its keys and values, which a request to a `VirtualEngine` has not."""
        assert isinstance(self.cache, PagedKVCache), "a bare block table has no keys and values"
        return self.cache

    @property
    def remaining(self) -> int:
        """Number of tokens to run before the next token can be sampled: 1 in decode, more in prefill."""
        return len(self.sequence) - self.cache.length

    @property
    def draft_tokens(self) -> list[int]:
        """Tokens that may follow its sequence, to be verified by the pass that runs its last token."""
        draft = self.speculation.draft if self.speculation else None
        return draft.tokens if draft else []

    @property
    def slots_needed(self) -> int:
        """Number of tokens that must have a slot before the next token can be sampled."""
        return self.remaining + len(self.draft_tokens)

    @property
    def prompt_is_cached(self) -> bool:
        """Whether another sample of this prompt could begin with a fork of this cache."""
        return self.cache.length >= self.completion.prompt_tokens

    def propose(self) -> None:
        """Draft the next tokens, unless a draft waits already. The first token comes from prefill, without a draft."""
        if self.speculation and self.tokens:
            self.speculation.propose(self.completion)

    def drop_interrupted_pass(self) -> None:
        """Make the last token run again, if a pass that was interrupted has left it in the cache without its logits."""
        if self.cache.length >= len(self.sequence):
            self.cache.truncate(len(self.sequence) - 1)

    def next_tokens(self, budget: int) -> "ScheduledTokens":
        """Return its tokens for the next step, at most `budget`: a chunk of its prompt, or its last token.

        The last token runs together with the draft tokens that follow it. Where the budget is too small for all of
        them, it does not run: the number of draft tokens must not depend on other requests, because with temperature
        above 0 the text depends on it. So a chunk (of a preempted request that is recomputed) leaves the last
        token for a pass with its draft.

            sequence of 10 tokens, 9 cached, 3 draft tokens:   budget 4 -> 1 token + 3 draft tokens;  budget 3 -> none
            sequence of 10 tokens, 2 cached:                   budget 5 -> tokens 2 to 6;             budget 8 -> 2 to 9
        """
        first, sequence, draft_tokens = self.cache.length, self.sequence, self.draft_tokens
        if self.remaining == 1:
            scheduled = ScheduledTokens(self, sequence[first:], draft_tokens, 1 + len(draft_tokens))
            return scheduled if len(scheduled.rows) <= budget else ScheduledTokens(self)
        end = min(first + budget, len(sequence) - bool(draft_tokens))
        return ScheduledTokens(self, sequence[first:end], logit_rows=int(end == len(sequence)))


@dataclass(frozen=True)
class ScheduledTokens:
    """The tokens of one request in one step.

    Attributes:
        request: the request.
        tokens: tokens of its sequence that run: a chunk of a prompt, or its last token; perhaps none.
        draft_tokens: draft tokens after them, to be verified.
        logit_rows: number of last rows whose logits are needed: 0 before the end of a prompt, else 1 and one for each
            draft token.
    """

    request: PagedRequest
    tokens: list[int] = field(default_factory=list)
    draft_tokens: list[int] = field(default_factory=list)
    logit_rows: int = 0

    @property
    def rows(self) -> list[int]:
        """All token ids of this request in the step, one for each row of the batch."""
        return [*self.tokens, *self.draft_tokens]
