"""Work: the multiplications and the bytes of one forward pass, from a config and the shape of a ragged batch.

Every phase is the same sum over the batch, as every phase is the same `forward`. Counted are matrix products:
a multiplication and an addition for each weight and token, and in attention, for each head and each key that a query
may see, the products with the key and with the value. Norms, softmax, rotary embedding and biases are left out.
Bytes are those that must be read: each weight once, however many tokens there are, and the keys and values seen.
Formulas: Kaplan et al., 2001.08361, section 2.1 (whose context term lacks the product with the values); Pope et al.,
2211.05102, section 2.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from minillm.config import ModelConfig
from minillm.estimate.memory import cache_bytes_per_token
from minillm.estimate.parameters import head_parameters, layers_parameters
from minillm.estimate.units import Number


@dataclass(frozen=True)
class Tokens:
    """The part of one sequence in a batch.

    Attributes:
        new: tokens to run.
        cached: tokens before them, whose keys and values are there already; a mean may be fractional.
        logit_rows: of how many last tokens the logits are wanted.
    """

    new: int
    cached: Number = 0
    logit_rows: int = 1


@dataclass(frozen=True)
class Work:
    """What has to be done.

    Attributes:
        flops: multiplications plus additions.
        weight_bytes: weights to read.
        cache_bytes: keys and values to read.
    """

    flops: Number
    weight_bytes: Number
    cache_bytes: Number = 0

    @property
    def bytes(self) -> Number:
        """All bytes to read from memory."""
        return self.weight_bytes + self.cache_bytes

    @property
    def intensity(self) -> Number:
        """Arithmetic intensity: floating-point operations for each byte."""
        return self.flops / self.bytes

    def __add__(self, other: "Work") -> "Work":
        """Both, one after the other."""
        return Work(
            self.flops + other.flops, self.weight_bytes + other.weight_bytes, self.cache_bytes + other.cache_bytes
        )


def visible_pairs(tokens: Tokens, window: int | None) -> Number:
    """Pairs of a new query and a key it may see: itself and all before it, at most `window` in all."""
    if window is None:
        return tokens.new * tokens.cached + tokens.new * (tokens.new + 1) / 2
    growing = min(max(window - tokens.cached, 0), tokens.new)  # queries that still see everything before them
    return growing * tokens.cached + growing * (growing + 1) / 2 + (tokens.new - growing) * window


def visible_keys(tokens: Tokens, window: int | None) -> Number:
    """Keys that at least one of the new queries may see."""
    all_keys = tokens.cached + tokens.new
    return all_keys if window is None else min(all_keys, window + tokens.new - 1)


def forward_work(
    config: ModelConfig, batch: Sequence[Tokens], weight_bytes: Number = 2, cache_bytes: Number = 2
) -> Work:
    """The work of one forward pass.

    Args:
        config: of the model.
        batch: the sequences that take part.
        weight_bytes: bytes of one weight, scales included.
        cache_bytes: bytes of one number in the KV cache.
    """
    rows = sum(tokens.logit_rows for tokens in batch)
    layers, head = layers_parameters(config), head_parameters(config)
    alike = [  # a thousand equal sequences in eighty equal layers are one product
        (count * number, tokens, window)
        for tokens, count in Counter(batch).items()
        for window, number in Counter(config.sliding_windows).items()
    ]
    pairs = sum(times * visible_pairs(tokens, window) for times, tokens, window in alike)
    keys = sum(times * visible_keys(tokens, window) for times, tokens, window in alike)
    heads = config.num_attention_heads * config.head_dim
    return Work(
        flops=2 * layers * sum(tokens.new for tokens in batch) + 2 * head * rows + 4 * heads * pairs,
        weight_bytes=(layers + (head if rows else 0)) * weight_bytes,
        cache_bytes=keys * cache_bytes_per_token(config, cache_bytes) / config.num_hidden_layers,
    )


def prefill_work(
    config: ModelConfig, tokens: int, weight_bytes: Number = 2, cache_bytes: Number = 2, logit_rows: int = 1
) -> Work:
    """A prompt of so many tokens, from nothing."""
    return forward_work(config, [Tokens(tokens, 0, logit_rows)], weight_bytes, cache_bytes)


def decode_work(
    config: ModelConfig, context: Number, sequences: int = 1, weight_bytes: Number = 2, cache_bytes: Number = 2
) -> Work:
    """One step of so many sequences, each of `context` tokens, the new one included: the weights are read once."""
    return forward_work(config, [Tokens(1, context - 1)] * sequences, weight_bytes, cache_bytes)


def verify_work(
    config: ModelConfig, context: int, guesses: int, weight_bytes: Number = 2, cache_bytes: Number = 2
) -> Work:
    """A round of speculation in the target: the last of `context` tokens, and the guesses behind it, in one pass.

    However many are accepted, the logits after each are computed.
    """
    return forward_work(config, [Tokens(guesses + 1, context - 1, guesses + 1)], weight_bytes, cache_bytes)


def draft_work(
    config: ModelConfig, context: int, cached: int, guesses: int, weight_bytes: Number = 2, cache_bytes: Number = 2
) -> Work:
    """A round of speculation in the draft model: one pass for each guess behind `context` tokens.

    The first reads what its cache lacks of them: one token, or two after a round in which all guesses were accepted,
    the last of which was never fed.
    """
    passes = [Tokens(context - cached, cached), *(Tokens(1, context + fed) for fed in range(guesses - 1))][:guesses]
    nothing = Work(0, 0, 0)
    return sum((forward_work(config, [one], weight_bytes, cache_bytes) for one in passes), start=nothing)
