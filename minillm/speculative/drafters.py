"""Drafters: they propose draft tokens cheaply, and the target model verifies them (see `speculative/rounds.py`).

There are three kinds: a smaller model; the model itself without some of its layers (Draft & Verify, 2309.08168), which
is a `Model` too; and prompt lookup, which copies what followed the same tokens earlier. Any object with the methods of
`Drafter` is one as well. With each draft token a drafter gives the distribution that it drew the token from. Rejections
are corrected with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.batch_checks import check_layer
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model, check_model
from minillm.prefill import PREFILL_CHUNK, prefill
from minillm.sampling import Sampling, probabilities, sample_from
from minillm.support.checks import shown
from minillm.support.wording import counted

LONGEST_MATCH = 16  # tokens that prompt lookup compares


@dataclass(frozen=True)
class Draft:
    """Draft tokens, and the distributions that they were drawn from.

    Attributes:
        tokens: the draft tokens, in order.
        probs: for each draft token the distribution `[vocab]` that it was drawn from, q in the papers. None if each was
            certain.
        matched: in prompt lookup, how many tokens before the draft match the tokens before its source.

    Example:
        >>> draft = minillm.Draft([7, 3])
        >>> draft.probs_of(1, vocab_size=8)
        array([0., 0., 0., 1., 0., 0., 0., 0.])
    """

    tokens: list[int]
    probs: list[Array] | None = None
    matched: int = 0

    def first(self, count: int) -> "Draft":
        """Return a draft of the first `count` tokens."""
        return replace(self, tokens=self.tokens[:count], probs=self.probs and self.probs[:count])

    def probs_of(self, index: int, vocab_size: int) -> Float[Array, "vocab"]:
        """Return the distribution of token `index` of the draft; one-hot if it was certain."""
        if self.probs is not None:
            return self.probs[index]
        certain = np.zeros(vocab_size)
        certain[self.tokens[index]] = 1.0
        return certain


@runtime_checkable
class Drafter(Protocol):
    """What a round of speculation needs of a drafter. A drafter that keeps state serves one request at a time.

    Attributes:
        free: whether draft tokens cost next to nothing. Then the draft may be cut after it is proposed. If not, `k` is
            chosen before, and drafting pauses when it does not pay.

    Example:
        >>> class Fives:
        ...     free = True
        ...     def propose(self, sequence, k, sampling, generator): return minillm.Draft([5] * k)
        ...     def truncate(self, length): pass
        >>> isinstance(Fives(), minillm.Drafter)
        True
        >>> out = minillm.speculative_generate(minillm.load("story"), Fives(), "The capital of France is", 3, k=2)
        >>> out.text, out.proposed, out.accepted  # of 3 tokens prefill gives one, so the first round drafts one
        (' Paris.', 1, 0)
    """

    free: bool

    def propose(self, sequence: Sequence[int], k: int, sampling: Sampling, generator: np.random.Generator) -> Draft:
        """Return at most `k` tokens that may follow `sequence`.

        Args:
            sequence: the prompt and the new tokens so far, all verified.
            k: the most draft tokens, at least 1.
            sampling: the request's settings. Drawing with its penalty, temperature and filters gets more accepted.
            generator: the only source of random numbers.
        """

    def truncate(self, length: int) -> None:
        """Drop the state of all tokens from index `length` on: they were rejected, or drafting was interrupted."""


def check_draft(draft: Any) -> Draft:
    """Return what a drafter proposed, if it is a Draft with a distribution for each token, or with none."""
    if not isinstance(draft, Draft):
        raise ValueError(f"the drafter proposed a value of type {type(draft).__name__}; expected a minillm.Draft")
    if draft.probs is not None and len(draft.probs) != len(draft.tokens):
        raise ValueError(
            f"the drafter proposed {counted(len(draft.tokens), 'token')} with "
            f"{counted(len(draft.probs), 'distribution')}; expected one each"
        )
    return draft


class ModelDrafter:
    """Drafts with a smaller model. Its cache holds the first tokens of the verified sequence.

    Its vocabulary may be padded to another number of rows than the target's. An id that the target lacks is never
    drafted.
    After an id that the draft model lacks it drafts nothing more, since it cannot read the sequence.
    """

    free = False

    def __init__(self, model: Model, capacity: int, vocab_size: int, cache_dtype: str | None = None) -> None:
        """Make a cache.

        Args:
            model: the draft model.
            capacity: of the cache, in tokens; or the draft model's whole context if that is less.
            vocab_size: the target's.
            cache_dtype: of the cache, as in `KVCache`.
        """
        self.model = model
        self.vocab_size = vocab_size
        self.cache = KVCache(model, min(capacity, model.config.max_position_embeddings), cache_dtype)

    def propose(self, sequence: Sequence[int], k: int, sampling: Sampling, generator: np.random.Generator) -> Draft:
        """Draw `k` tokens one after another; fewer where the draft model's context ends.

        The first pass reads the tokens that the cache lacks: at first the prompt. After a round in which all draft
        tokens were accepted these are two, the last draft token (which was not fed) and the bonus token.
        """
        tokens = list[int]()
        probs = list[Array]()
        extended = list(sequence)
        if max(sequence[self.cache.length :], default=0) >= self.model.config.vocab_size:
            return Draft([])
        for _ in range(min(k, self.cache.capacity - len(sequence) + 1)):  # the last draft token is not fed
            logits = prefill(self.model, extended[self.cache.length :], self.cache, PREFILL_CHUNK)
            probs.append(self._probabilities(self.model.ops.to_host(logits), sampling, extended))
            tokens.append(sample_from(probs[-1], generator))
            extended.append(tokens[-1])
        return Draft(tokens, probs)

    def _probabilities(
        self, logits: Float[Array, "draft_vocab"], sampling: Sampling, seen: Sequence[int]
    ) -> Float[Array, "vocab"]:
        """Return the distribution of the next draft token over the target's ids; 0 for those that one side lacks."""
        probs = np.zeros(self.vocab_size)
        shared = min(self.vocab_size, len(logits))
        probs[:shared] = probabilities(logits[:shared], sampling, seen)
        return probs

    def truncate(self, length: int) -> None:
        """Truncate the cache to `length` tokens, if it has more."""
        self.cache.truncate(min(length, self.cache.length))


class PromptLookup:
    """Drafts without a model: looks for the last tokens earlier in the sequence and proposes what followed them there.

    The longest match wins, of at most 16 tokens. Among equally long matches the latest wins. A match near the end goes
    on into its own draft tokens, so a sequence with a period is continued for any k. It pays where an answer quotes the
    prompt or itself: lists, code, summaries. It keeps no state. Source: Saxena, Prompt Lookup Decoding, 2023.

    Example:
        >>> lookup = minillm.PromptLookup()
        >>> lookup.propose([7, 8, 9, 4, 7, 8], 3, minillm.Sampling(), None)  # 7, 8 came before, and 9, 4, 7 followed
        Draft(tokens=[9, 4, 7], probs=None, matched=2)
    """

    free = True

    def propose(
        self, sequence: Sequence[int], k: int, sampling: Sampling, generator: np.random.Generator | None
    ) -> Draft:
        """Return the `k` tokens that followed the longest match, all certain; an empty draft if nothing matches."""
        source, matched = _after_longest_match(np.asarray(sequence))
        extended = list(sequence)
        if matched:
            for index in range(source, source + k):
                extended.append(extended[index])
        return Draft(extended[len(sequence) :], matched=matched)

    def truncate(self, length: int) -> None:
        """Do nothing: there is no state."""


def _after_longest_match(tokens: Int[Array, "tokens"]) -> tuple[int, int]:
    """Return the index after the longest earlier match of the last tokens, and its length; (0, 0) without a match."""
    matched = 0
    ends = np.arange(len(tokens) - 1)  # the indices at which a match of `matched` tokens ends
    while matched < LONGEST_MATCH:
        longer = ends[ends >= matched]
        longer = longer[tokens[longer - matched] == tokens[len(tokens) - 1 - matched]]
        if not len(longer):
            break
        matched += 1
        ends = longer
    return (int(ends[-1]) + 1, matched) if matched else (0, 0)


def skip_layers(model: Model, kept: Sequence[int] | None = None) -> Model:
    """Return the model without some of its layers, as a draft model for itself. It shares the weights that it keeps.

    Args:
        model: the model.
        kept: the numbers of the layers to keep; by default every second layer from the first on, and the last.

    Raises:
        ValueError: no layer is kept, a number is not that of a layer, the numbers are not in order, or the layers are
            on several ranks.

    Example:
        >>> model = minillm.load("story")
        >>> model.config.num_hidden_layers, minillm.skip_layers(model, [0, 1, 5]).config.num_hidden_layers
        (6, 3)
    """
    check_model(model)
    layers = range(model.config.num_hidden_layers)
    if kept is None:
        kept = [layer for layer in layers if layer % 2 == 0 or layer == layers[-1]]
    numbers = [check_layer(model, number) for number in kept] if isinstance(kept, Sequence) else []
    if not numbers or numbers != sorted(set(numbers)):
        raise ValueError(f"kept is {shown(kept)}; expected numbers of layers in order, at least one, each once")
    return replace(model.with_layers(numbers), name=f"{model.name} without layers")
