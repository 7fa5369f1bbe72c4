"""Checks of the arguments of a forward pass: tokens, caches, batches. They are kept apart from the maths.

Each raises a one-line ValueError that says what was expected.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm.arrays import Array, Int
from minillm.kv_cache.cache import Cache
from minillm.model import Model, check_model
from minillm.support.checks import check_integer, shown
from minillm.support.wording import counted


def check_cache(model: Model, cache: Any) -> None:
    """Raise ValueError unless this is a cache made for this very model."""
    if not hasattr(cache, "check_room"):
        raise ValueError(f"cache is of type {type(cache).__name__}; expected a minillm.KVCache")
    if cache.model is not model:
        raise ValueError("the cache was made for another model; make one with minillm.KVCache(model, capacity)")


def check_tokens(model: Model, tokens: Any) -> Int[Array, "tokens"]:
    """Return token ids as an array of int64: at least one, each in the vocabulary, not more than the context."""
    check_model(model)
    if isinstance(tokens, range) and tokens:  # perhaps larger than the memory, or than len() can return
        check_context(model, (tokens[-1] - tokens[0]) // tokens.step + 1)
    ids = _as_array(tokens)
    if ids.ndim != 1:
        found = counted(ids.ndim, "dimension") if ids.ndim else type(tokens).__name__
        hint = "; minillm.generation.encode_prompt(model, text) returns them" if isinstance(tokens, str) else ""
        raise ValueError(f"tokens: expected a flat list of token ids, found {found}{hint}")
    if not len(ids):
        raise ValueError("tokens: expected at least one token id, found none; is the prompt empty?")
    if ids.dtype.kind not in "iu":
        raise ValueError(f"tokens: expected integers, found {ids.dtype.type.__name__.strip('_')}")
    vocab_size = model.config.vocab_size
    if ids.min() < 0 or ids.max() >= vocab_size:
        bad = int(ids[(ids < 0) | (ids >= vocab_size)][0])
        raise ValueError(f"tokens: id {bad} is outside the vocabulary, 0 to {vocab_size - 1}")
    check_context(model, len(ids))
    return ids.astype(np.int64)


def _as_array(tokens: Any) -> Array:
    """Return what NumPy makes of them. A tensor on a GPU cannot be read; it raises an error of its own library."""
    try:
        return np.asarray(tokens)
    except ValueError:
        raise ValueError("tokens: expected a flat list of token ids, found lists of different lengths") from None
    except Exception:
        kind = type(tokens).__name__
        raise ValueError(f"tokens: expected a flat list of token ids, found a {kind} that NumPy cannot read") from None


def check_context(model: Model, tokens: int) -> None:
    """Raise ValueError if `tokens` tokens are more than the model's context."""
    context = model.config.max_position_embeddings
    if tokens > context:
        raise ValueError(f"{shown(tokens)} tokens are more than the model's context of {context}")


def check_room(model: Model, cache: Any, new_tokens: int) -> None:
    """Raise ValueError unless `new_tokens` more tokens fit into this cache of this model, and into its context."""
    check_cache(model, cache)
    cache.check_room(new_tokens)
    check_context(model, cache.length + new_tokens)


def check_batch(model: Model, batch: Sequence[tuple[Any, Cache]]) -> tuple[list[Int[Array, "_"]], list[Cache]]:
    """Check a batch, and return its token arrays and its caches."""
    check_model(model)
    pairs = isinstance(batch, Sequence) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in batch)
    if not pairs or not batch:
        raise ValueError("batch: expected a list of at least one (tokens, cache)")
    caches = [cache for _, cache in batch]
    if len({id(cache) for cache in caches}) < len(caches):
        raise ValueError(
            "batch: each sequence needs a cache of its own, but one cache is in the batch twice; fork() it"
        )
    new_tokens = [check_tokens(model, tokens) for tokens, _ in batch]
    for tokens, cache in zip(new_tokens, caches, strict=True):
        check_room(model, cache, len(tokens))
    return new_tokens, caches


def check_logit_rows(logit_rows: Sequence[int] | None, new_tokens: Sequence[Array]) -> Sequence[int]:
    """Return the number of rows of logits for each sequence: 1 each by default, at most its new tokens."""
    if logit_rows is None:
        return [1] * len(new_tokens)
    if not isinstance(logit_rows, Sequence) or len(logit_rows) != len(new_tokens):
        raise ValueError(
            f"logit_rows is {shown(logit_rows)}; expected {counted(len(new_tokens), 'number')}, one for each sequence"
        )
    return [check_integer("logit_rows", n, 0, len(t)) for n, t in zip(logit_rows, new_tokens, strict=True)]


def check_layer(model: Model, layer: Any) -> int:
    """Return the number of a layer, from 0."""
    return check_integer("layer", layer, 0, model.config.num_hidden_layers - 1)
