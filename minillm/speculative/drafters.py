"""Drafters: what guesses the next tokens cheaply, for the model itself to verify (see `speculative/rounds.py`).

Three kinds: another, smaller model; the model itself without some of its layers (Draft & Verify, 2309.08168), which
is a `Model` as well; and no model at all but a look at what followed the same words earlier in the text. A drafter
that keeps something belongs to one request. Beside its guesses a drafter must tell the distribution that it drew each
of them from: without that, nothing can be corrected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.batch_checks import check_layer
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model, check_model
from minillm.prefill import prefill
from minillm.sampling import Sampling, probabilities, sample_from
from minillm.support.checks import shown

PREFILL_CHUNK = 512  # the draft model reads a long prompt in passes of so many tokens
LONGEST_MATCH = 16  # tokens that prompt lookup compares


@dataclass(frozen=True)
class Draft:
    """Guesses, and what they were drawn from.

    Attributes:
        tokens: the guesses, in order.
        probs: for each the distribution `[vocab]` it was drawn from, q in the papers; None if each was certain.
        matched: of guesses that were looked up, how many tokens before them stand before their source, too.
        read: tokens that a draft model read before its first guess: one or two, or more if it had to catch up.
    """

    tokens: list[int]
    probs: list[Array] | None = None
    matched: int = 0
    read: int = 0

    def first(self, count: int) -> "Draft":
        """Of the guesses only so many."""
        return replace(self, tokens=self.tokens[:count], probs=self.probs and self.probs[:count])

    def probs_of(self, index: int, vocab_size: int) -> Float[Array, "vocab"]:
        """The distribution of one guess; one-hot if it was certain."""
        if self.probs is not None:
            return self.probs[index]
        certain = np.zeros(vocab_size)
        certain[self.tokens[index]] = 1.0
        return certain


@runtime_checkable
class Drafter(Protocol):
    """What a round of speculation asks of a drafter; there is one for each request.

    Attributes:
        free: whether a guess costs next to nothing.
    """

    free: bool

    def propose(self, sequence: Sequence[int], k: int, sampling: Sampling, generator: np.random.Generator) -> Draft:
        """At most k tokens that may follow the sequence, drawn with the request's own penalty, temperature, filters."""

    def truncate(self, length: int) -> None:
        """Forget whatever stands behind the first `length` tokens: it was rejected."""


class ModelDrafter:
    """Guesses of a smaller model with the same tokens. Its cache holds a beginning of the verified sequence."""

    free = False

    def __init__(self, model: Model, capacity: int) -> None:
        """An empty cache for `capacity` tokens, or for the draft model's whole context if that is less."""
        self.model = model
        self.cache = KVCache(model, min(capacity, model.config.max_position_embeddings))

    def propose(self, sequence: Sequence[int], k: int, sampling: Sampling, generator: np.random.Generator) -> Draft:
        """Draw k tokens one after another; fewer where the draft model's context ends.

        The first pass reads whatever the cache does not hold yet: at first the prompt, and after a round in which
        everything was accepted two tokens, the last guess (which was never fed) and the bonus.
        """
        tokens, probs, text, read = list[int](), list[Array](), list(sequence), len(sequence) - self.cache.length
        for _ in range(min(k, self.cache.capacity - len(sequence) + 1)):  # the last guess is not fed
            logits = prefill(self.model, text[self.cache.length :], self.cache, PREFILL_CHUNK)
            probs.append(probabilities(self.model.ops.to_host(logits), sampling, text))
            tokens.append(sample_from(probs[-1], generator))
            text.append(tokens[-1])
        return Draft(tokens, probs, read=read)

    def truncate(self, length: int) -> None:
        """Cut the cache back, if it holds more."""
        self.cache.truncate(min(length, self.cache.length))


class PromptLookup:
    """Guesses that the text repeats itself: finds its last tokens earlier in it, and proposes what followed them there.

    The longest match wins, of 16 tokens at most, and of equally long ones the latest. A match near the end goes on into
    its own guesses, so a text with a period is continued for any k. It pays where an answer quotes the prompt or
    itself: lists, code, summaries. It keeps nothing. Source: Saxena, Prompt Lookup Decoding, 2023.
    """

    free = True

    def propose(self, sequence: Sequence[int], k: int, sampling: Sampling, generator: np.random.Generator) -> Draft:
        """The k tokens that followed, or none; certain of each."""
        place, matched = _after_longest_match(np.asarray(sequence))
        text = list(sequence)
        if matched:
            for guess in range(place, place + k):
                text.append(text[guess])
        return Draft(text[len(sequence) :], matched=matched)

    def truncate(self, length: int) -> None:
        """Nothing is kept."""


def _after_longest_match(tokens: Int[Array, "tokens"]) -> tuple[int, int]:
    """Where the token stands that followed the last tokens before, and how many of them match; (0, 0) if none does."""
    matched, ends = 0, np.arange(len(tokens) - 1)  # where a match of so many tokens ends: at first anywhere before
    while matched < LONGEST_MATCH:
        longer = ends[ends >= matched]
        longer = longer[tokens[longer - matched] == tokens[len(tokens) - 1 - matched]]
        if not len(longer):
            break
        matched, ends = matched + 1, longer
    return (int(ends[-1]) + 1, matched) if matched else (0, 0)


def skip_layers(model: Model, kept: Sequence[int] | None = None) -> Model:
    """The model without some of its layers, as a draft for itself. It shares the weights that it keeps.

    Args:
        model: the model.
        kept: the numbers of the layers that stay; by default every second one from the first on, and the last.

    Raises:
        ValueError: no layer is kept, a number is not that of a layer, or they are not in order.
    """
    check_model(model)
    layers = range(model.config.num_hidden_layers)
    if kept is None:
        kept = [layer for layer in layers if layer % 2 == 0 or layer == layers[-1]]
    numbers = [check_layer(model, number) for number in kept] if isinstance(kept, Sequence) else []
    if not numbers or numbers != sorted(set(numbers)):
        raise ValueError(f"kept is {shown(kept)}; expected numbers of layers in order, at least one, each once")
    windows = tuple(model.config.sliding_windows[number] for number in numbers)
    config = replace(model.config, num_hidden_layers=len(numbers), sliding_windows=windows)
    weights = tuple(model.layer_weights[number] for number in numbers)
    return replace(model, name=f"{model.name} without layers", config=config, layer_weights=weights)
