"""Completion: the answer to one request as it grows. Logits go in; a token, and the text it completed, come out.

A completion is what keeps a request independent of others in its batch. It has its own random generator, its own
history for the repetition penalty, its own text and its own stop strings. `generate`, static batching and the engine
all use it. Only here do tokens become text: the scheduler sees only token ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int, Tokens
from minillm.batch_checks import check_tokens
from minillm.events import Submitted, TokenChosen, listener
from minillm.model import Model, check_model
from minillm.sampling import Sampling, log_probabilities, sample
from minillm.support.checks import check_integer
from minillm.text.text_stream import TextStream

DEFAULT_NEW_TOKENS = 256  # of `generate`, of the engine and of the commands


@dataclass(frozen=True)
class TokenLogprobs:
    """The log-probability of a sampled token, and the most probable tokens as (id, log-probability), best first."""

    token: int
    logprob: float
    best: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Step:
    """One new token. (A step of the engine is a forward pass; it may give several requests a new token each.)

    Attributes:
        token: its id.
        text: the text this token completed; may be empty.
        logprobs: its log-probabilities, if `Sampling.logprobs` asked for them.
        finish_reason: "" until the last token; see `Completion`.
        origin: in speculative decoding "accepted", "corrected" or "bonus"; "" for a token of the model alone.

    Example:
        >>> steps = list(minillm.Generation(minillm.load("story"), "The capital of France is", 2))
        >>> steps[-1]
        Step(token=1910, text='aris', logprobs=None, finish_reason='length', origin='')
    """

    token: int
    text: str
    logprobs: TokenLogprobs | None
    finish_reason: str = ""
    origin: str = ""


def check_sampling(model: Model, sampling: Any) -> Sampling:
    """Return the sampling; greedy for None.

    Raises:
        ValueError: it is something else, or it asks for more log-probabilities than there are tokens.
    """
    checked = Sampling() if sampling is None else sampling
    if not isinstance(checked, Sampling):
        raise ValueError(f"sampling is of type {type(sampling).__name__}; expected a minillm.Sampling")
    if checked.logprobs is not None:
        check_integer("logprobs", checked.logprobs, 0, model.config.vocab_size)
    return checked


class Completion:
    """The growing answer to one prompt.

    Attributes:
        sequence: the prompt's tokens, then the new ones.
        prompt_tokens: number of prompt tokens.
        max_new_tokens: the most tokens to add; at most what the model's context has room for.
        logprobs: one entry for each new token, if `Sampling.logprobs` asked for them.
        finish_reason: "" while tokens come; then "eos" (end-of-sequence token), "stop" (stop string) or "length"
            (max_new_tokens or the context).
    """

    def __init__(
        self,
        prompt: list[int],
        max_new_tokens: int,
        sampling: Sampling | None = None,
        eos_token_ids: Sequence[int] = (),
        text_stream: TextStream | None = None,
    ) -> None:
        """Take what is checked already. Without a text stream there are token ids alone."""
        self.sequence = prompt
        self.prompt_tokens = len(prompt)
        self.max_new_tokens = max_new_tokens
        self.sampling = sampling or Sampling()
        self.eos_token_ids = eos_token_ids
        self.text_stream = text_stream
        self.generator = self.sampling.generator()
        self.logprobs: list[TokenLogprobs] = []
        self.finish_reason = ""

    @classmethod
    def of(cls, model: Model, prompt: Tokens, max_new_tokens: int, sampling: Sampling | None) -> "Completion":
        """Check everything, and begin a completion by this model; no token is sampled yet.

        Raises:
            ValueError: a wrong argument, an empty prompt, or one longer than the model's context.
        """
        check_model(model)
        sampling = check_sampling(model, sampling)
        check_integer("max_new_tokens", max_new_tokens, 1)
        sequence = [int(token) for token in check_tokens(model, prompt)]
        room = model.config.max_position_embeddings - len(sequence) + 1  # the last token is never fed back
        eos_token_ids = () if sampling.ignore_eos else model.config.eos_token_ids
        text_stream = None
        if model.stored_tokenizer is not None or sampling.stop:
            text_stream = TextStream(model.tokenizer, sampling.stop or (), sequence)
        return cls(sequence, min(int(max_new_tokens), room), sampling, eos_token_ids, text_stream)

    @property
    def tokens(self) -> list[int]:
        """The new token ids so far. If an end-of-sequence token came, it is the last one."""
        return self.sequence[self.prompt_tokens :]

    @property
    def text(self) -> str:
        """The text so far, without special tokens, up to a stop string."""
        return "" if self.text_stream is None else self.text_stream.text

    @property
    def max_cached_tokens(self) -> int:
        """The most tokens that a cache will hold: all but the last, because the last is never fed back."""
        return self.prompt_tokens + self.max_new_tokens - 1

    def submitted(self, group: object = None) -> Submitted:
        """Return the event that this request is new. `group` is the same object for all samples of one prompt."""
        return Submitted(self, tuple(self.sequence), self.max_new_tokens, self.sampling, group)

    def add(self, logits: Float[Array, "vocab"], origin: str = "") -> Step:
        """Sample the next token from `logits`, which the model gave after the last token, and append it.

        Raises:
            ValueError: a logit is not finite; nothing has changed then.
        """
        return self.append(sample(logits, self.sampling, self.sequence, self.generator), logits, origin)

    def append(self, token: int, logits: Float[Array, "vocab"], origin: str = "") -> Step:
        """Append a token that is already chosen, as in speculative decoding. `logits` are those it was chosen from."""
        assert not self.finish_reason, "the answer is complete"
        self.sequence.append(token)
        if token in self.eos_token_ids:
            self.finish_reason = "eos"
        elif len(self.sequence) - self.prompt_tokens == self.max_new_tokens:
            self.finish_reason = "length"
        text = self._push_text(token)
        logprobs = self._logprobs_of(logits, token)
        self.logprobs += [logprobs] if logprobs else []
        if tell := listener():
            tell(TokenChosen(self, token, logits, text, origin, self.finish_reason))
        return Step(token, text, logprobs, self.finish_reason, origin)

    def _push_text(self, token: int) -> str:
        """Give the token to the text stream. A stop string found now is the finish reason, also after eos or length."""
        if self.text_stream is None:
            return ""
        text = self.text_stream.push(token)
        if self.finish_reason:
            text += self.text_stream.finish()
        if self.text_stream.stopped:
            self.finish_reason = "stop"
        return text

    def _logprobs_of(self, logits: Array, token: int) -> TokenLogprobs | None:
        if self.sampling.logprobs is None:
            return None
        values = log_probabilities(logits)
        best = largest(values, self.sampling.logprobs)
        return TokenLogprobs(token, float(values[token]), tuple((int(i), float(values[i])) for i in best))


def largest(values: Float[Array, "vocab"], count: int) -> Int[Array, "count"]:
    """Return the indices of the `count` largest values, largest first, equal ones by index.

    Only candidates are sorted: sorting a whole vocabulary would take longer than sampling from it.
    """
    if count == 0:
        return np.empty(0, np.int64)
    smallest = np.partition(values, -count)[-count]
    candidates = np.flatnonzero(values >= smallest)
    return candidates[np.argsort(-values[candidates], kind="stable")][:count]
