"""Cache: what a forward pass asks of a KV cache, of whatever kind it is; and the memory and room behind every kind."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from minillm.arrays import Array, Float
from minillm.model import Model
from minillm.ragged_batch import LayerCache
from minillm.support.checks import shown


@runtime_checkable
class Cache(LayerCache, Protocol):
    """What `forward` asks of a cache: contiguous, paged, or of another kind."""

    model: Model

    def check_room(self, new_tokens: int) -> None:
        """Raise ValueError, before anything is written, if so many more tokens do not fit."""

    def reserve(self, new_tokens: int) -> None:
        """Take room for so many more tokens, or raise ValueError; to do so twice changes nothing."""

    def truncate(self, length: int) -> None:
        """Forget all tokens from index `length` on, and whatever is reserved for more."""


def take_memory(
    model: Model, tokens: int, cause: str
) -> tuple[Float[Array, "layers kv_heads tokens head_dim"], Float[Array, "layers kv_heads tokens head_dim"]]:
    """Empty keys and values with room for so many tokens.

    Raises:
        ValueError: there is not so much memory; the message begins with the cause.
    """
    config = model.config
    shape = (config.num_hidden_layers, config.num_key_value_heads, tokens, config.head_dim)
    try:
        return model.ops.zeros(shape, model.dtype), model.ops.zeros(shape, model.dtype)
    except (MemoryError, OverflowError, ValueError):  # the last two: more bytes than an array can have
        needed, free = 2 * math.prod(shape) * model.dtype.itemsize, model.ops.free_memory()
        size = f"{shown(needed // 10**9)} GB" if needed >= 10**9 else f"{needed / 1e6:.1f} MB"
        is_free = "" if free is None else f", {free / 1e6:,.1f} MB are free"
        raise ValueError(f"{cause}: there is no memory of {size}{is_free}; pass a smaller one") from None


def reserve(caches: Sequence[Cache], new_tokens: Sequence[int]) -> None:
    """Room in every cache, or, if one of them has none, in none.

    Raises:
        ValueError: one has no room.
    """
    try:
        for cache, count in zip(caches, new_tokens, strict=True):
            cache.reserve(count)
    except ValueError:
        for cache in caches:
            cache.truncate(cache.length)
        raise
