"""Work: the operations and the bytes of one forward pass, from a config and the shape of a ragged batch.

Every phase is the same sum over the batch, because every phase is the same `forward`. Matrix products are counted:
a multiplication and an addition for each weight and token. Attention adds, for each head and each key that a query may
see, the products with the key and with the value. Norms, softmax, rotary embedding and biases are left out.
Bytes are those that must be read: each weight once, for any number of tokens, and the visible keys and values.
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
    """The rows of one sequence in a batch.

    Attributes:
        new: tokens to run.
        cached: tokens before them, whose keys and values are cached; a mean may be fractional.
        logit_rows: number of last tokens whose logits are computed.
    """

    new: int
    cached: Number = 0
    logit_rows: int = 1


@dataclass(frozen=True)
class Work:
    """The operations and bytes of a computation.

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
        """Return all bytes to read from memory."""
        return self.weight_bytes + self.cache_bytes

    @property
    def intensity(self) -> Number:
        """Return the arithmetic intensity: floating-point operations per byte."""
        return self.flops / self.bytes

    def __mul__(self, times: int) -> "Work":
        return Work(self.flops * times, self.weight_bytes * times, self.cache_bytes * times)

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.flops + other.flops, self.weight_bytes + other.weight_bytes, self.cache_bytes + other.cache_bytes
        )


def visible_pairs(tokens: Tokens, window: int | None) -> Number:
    """Return the pairs of a new query and a key it may see: itself and the keys before it, at most `window` in all."""
    if window is None:
        return tokens.new * tokens.cached + tokens.new * (tokens.new + 1) / 2
    growing = min(max(window - tokens.cached, 0), tokens.new)  # queries that still see everything before them
    return growing * tokens.cached + growing * (growing + 1) / 2 + (tokens.new - growing) * window


def visible_keys(tokens: Tokens, window: int | None) -> Number:
    """Return the number of keys that at least one of the new queries may see."""
    all_keys = tokens.cached + tokens.new
    return all_keys if window is None else min(all_keys, window + tokens.new - 1)


def forward_work(
    config: ModelConfig, batch: Sequence[Tokens], weight_bytes: Number = 2, cache_bytes: Number = 2
) -> Work:
    """Return the work of one forward pass.

    Args:
        config: of the model.
        batch: the rows of each sequence.
        weight_bytes: bytes of one weight, scales included.
        cache_bytes: bytes of one number in the KV cache.
    """
    rows = sum(tokens.logit_rows for tokens in batch)
    layers, head = layers_parameters(config), head_parameters(config)
    alike = [  # 1,000 equal sequences in 80 equal layers are one product
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
    """Return the work of a prompt of `tokens` with an empty cache."""
    return forward_work(config, [Tokens(tokens, 0, logit_rows)], weight_bytes, cache_bytes)


def decode_work(
    config: ModelConfig, context: Number, sequences: int = 1, weight_bytes: Number = 2, cache_bytes: Number = 2
) -> Work:
    """Return the work of one step of `sequences` of `context` tokens each (with the new one); weights are read once."""
    return forward_work(config, [Tokens(1, context - 1)] * sequences, weight_bytes, cache_bytes)


def verify_work(
    config: ModelConfig, context: int, draft_tokens: int, weight_bytes: Number = 2, cache_bytes: Number = 2
) -> Work:
    """Return the target model's work in a round: one pass over the last of `context` tokens and the draft after it.

    The logits after each of these tokens are computed, for any number of accepted draft tokens.
    """
    rows = draft_tokens + 1
    return forward_work(config, [Tokens(rows, context - 1, rows)], weight_bytes, cache_bytes)


def draft_work(
    config: ModelConfig, context: int, cached: int, draft_tokens: int, weight_bytes: Number = 2, cache_bytes: Number = 2
) -> Work:
    """Return the draft model's work in a round: one pass for each draft token after `context` tokens.

    The first pass runs the tokens that its cache lacks: one. After a round that accepted every draft token it is two,
    because the last of them was never fed.
    """
    passes = [Tokens(context - cached, cached), *(Tokens(1, context + fed) for fed in range(draft_tokens - 1))]
    passes = passes[:draft_tokens]

    nothing = Work(0, 0, 0)
    return sum((forward_work(config, [one], weight_bytes, cache_bytes) for one in passes), start=nothing)
