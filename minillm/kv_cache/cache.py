"""Cache: what a forward pass asks of a KV cache of any kind, and two helpers for all kinds."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from minillm.arrays import Array, Float
from minillm.model import Model
from minillm.ragged_batch import LayerCache
from minillm.support.checks import shown


@runtime_checkable
class Cache(LayerCache, Protocol):
    """What `forward_batch` asks of a cache. `KVCache` and `PagedKVCache` are two of this kind."""

    model: Model

    def check_room(self, new_tokens: int) -> None:
        """Raise ValueError, before anything is written, if `new_tokens` more tokens do not fit."""

    def reserve(self, new_tokens: int) -> None:
        """Reserve space for `new_tokens` more tokens, or raise ValueError. Calling it again has no further effect."""

    def truncate(self, length: int) -> None:
        """Drop every token from index `length` on, and any space reserved beyond it."""


def take_memory(
    model: Model, tokens: int, cause: str
) -> tuple[Float[Array, "layers kv_heads tokens head_dim"], Float[Array, "layers kv_heads tokens head_dim"]]:
    """Return arrays of zeros for the keys and values of `tokens` tokens.

    Raises:
        ValueError: not enough memory; the message begins with `cause`.
    """
    config = model.config
    shape = (config.num_hidden_layers, config.num_key_value_heads, tokens, config.head_dim)
    try:
        return model.ops.zeros(shape, model.dtype), model.ops.zeros(shape, model.dtype)
    except (MemoryError, OverflowError, ValueError):  # the last two: more bytes than an array can have
        needed, free = 2 * math.prod(shape) * model.dtype.itemsize, model.ops.free_memory()
        size = f"{shown(needed // 10**9)} GB" if needed >= 10**9 else f"{needed / 1e6:.1f} MB"
        is_free = "" if free is None else f", {free / 1e6:,.1f} MB free"
        raise ValueError(f"{cause}: not enough memory: {size} needed{is_free}; pass a smaller one") from None


def reserve(caches: Sequence[Cache], new_tokens: Sequence[int]) -> None:
    """Reserve space in all caches or in none of them.

    Raises:
        ValueError: one of them is too small.
    """
    try:
        for cache, count in zip(caches, new_tokens, strict=True):
            cache.reserve(count)
    except ValueError:
        for cache in caches:
            cache.truncate(cache.length)  # gives back what was just reserved
        raise
