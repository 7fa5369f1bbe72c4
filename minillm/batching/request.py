"""Request: one prompt on its way to its answer, as the user sees it, and what a scheduler keeps with it.

Time is counted in steps: forward passes of the whole batch. They say what a schedule does, on any machine.
"""

from minillm.completion import Completion, TokenLogprobs
from minillm.kv_cache.paged import PagedKVCache, SwappedCache
from minillm.speculative.rounds import Speculation


class Request:
    """One request.

    Attributes:
        completion: the answer as it grows.
        arrived_step: how many steps the engine had made when the request was submitted.
        first_token_step: after which step its first token was there; None before.
        finished_step: after which step it was finished, or cancelled; None before.
        finish_reason: "" while it runs; then "eos", "stop", "length" or "cancelled".
    """

    def __init__(self, completion: Completion, arrived_step: int) -> None:
        """Nothing has been computed yet."""
        self.completion, self.arrived_step = completion, arrived_step
        self.first_token_step: int | None = None
        self.finished_step: int | None = None
        self.finish_reason = ""

    @property
    def tokens(self) -> list[int]:
        """The new ids so far."""
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
        """Whether nothing more will come."""
        return bool(self.finish_reason)

    @property
    def latency_steps(self) -> int | None:
        """Steps from its arrival until it was finished; None before."""
        return None if self.finished_step is None else self.finished_step - self.arrived_step


class PagedRequest(Request):
    """A request that a scheduler can interrupt and go on with.

    Attributes:
        group: the samples of one prompt have the same; they share its blocks.
        cache: the keys and values of its first tokens; empty while it waits.
        swapped: what the cache held, if its blocks were swapped out.
        speculation: what guesses its next tokens; None if nothing does.
    """

    def __init__(
        self,
        completion: Completion,
        arrived_step: int,
        cache: PagedKVCache,
        group: object,
        speculation: Speculation | None = None,
    ) -> None:
        """Waiting, with an empty cache."""
        super().__init__(completion, arrived_step)
        self.cache, self.group, self.speculation = cache, group, speculation
        self.swapped: SwappedCache | None = None

    @property
    def sequence(self) -> list[int]:
        """All its tokens, prompt and new ones. The cache holds the first of them; the rest have yet to run."""
        return self.completion.sequence

    @property
    def remaining(self) -> int:
        """How many tokens have yet to run before the next can be chosen: 1 in decode, more in prefill."""
        return len(self.sequence) - self.cache.length

    def guess(self) -> None:
        """Guess what follows its new tokens, unless guesses wait to be verified already."""
        if self.speculation and self.tokens:
            self.speculation.propose(self.completion)

    @property
    def guesses(self) -> list[int]:
        """Tokens that may follow its sequence, to be verified by the pass that runs its last token."""
        draft = self.speculation.draft if self.speculation else None
        return draft.tokens if draft else []

    @property
    def slots_needed(self) -> int:
        """Tokens for which blocks must be there when the next token is chosen."""
        return self.remaining + len(self.guesses)

    def next_tokens(self, most: int) -> list[int]:
        """Its next tokens to run, at most so many: a chunk of its prompt, or the token that was chosen last.

        That one runs together with the guesses that follow it, or, if there is no room for all, not yet: how many
        guesses a round has must not depend on others, since with temperature above 0 the text depends on it.
        """
        first, sequence = self.cache.length, self.sequence
        if self.remaining == 1:
            tokens = [*sequence[first:], *self.guesses]
            return tokens if len(tokens) <= most else []
        # With guesses behind it, the last token is left for a pass of its own with them.
        end = len(sequence) - bool(self.guesses)
        return sequence[first : min(first + most, end)]

    @property
    def prompt_is_cached(self) -> bool:
        """Whether another sample of this prompt could begin with a fork of this cache."""
        return self.cache.length >= self.completion.prompt_tokens
