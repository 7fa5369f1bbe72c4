"""Cache: what a forward pass asks of a KV cache of any kind, and helpers for all kinds."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from minillm.kv_cache.int8 import Int8Memory
from minillm.kv_cache.memory import CacheMemory
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


def memory_kind(model: Model, dtype: str | None) -> type[CacheMemory]:
    """Return the kind of memory that `dtype` asks for: None for the model's dtype, or "int8".

    Raises:
        ValueError: dtype is something else, or this backend cannot read such a cache.
    """
    if dtype is None:
        return CacheMemory
    if dtype != Int8Memory.stored_as:
        raise ValueError(f"the cache's dtype is {shown(dtype)}; expected 'int8', or None for the model's own")
    if not model.ops.int8_caches:
        raise ValueError(f"the {model.ops.name} backend reads caches of floats only; leave out the cache's dtype, int8")
    return Int8Memory


def take_memory(model: Model, tokens: int, dtype: str | None, cause: str) -> CacheMemory:
    """Allocate memory for the keys and values of `tokens` tokens.

    Raises:
        ValueError: `dtype` is wrong; or not enough memory, and the message begins with `cause`.
    """
    kind = memory_kind(model, dtype)
    try:
        return kind(model, tokens)
    except (MemoryError, OverflowError, ValueError):  # the last two: more bytes than an array can have
        needed, free = kind.bytes_of(model, tokens), model.ops.free_memory()
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
