"""Causal attention, twice: naive attention over a whole sequence, and attention over a cache.

The cached form is the same formula with one change. The first new query is at position `start`, not 0, so the causal
diagonal of the mask moves right by `start`. Three new tokens after four cached ones; queries are down, keys across:

    naive, 7 tokens            cached, start = 4
        0 1 2 3 4 5 6              0 1 2 3 4 5 6
    0   x . . . . . .
    1   x x . . . . .
    2   x x x . . . .
    3   x x x x . . .
    4   x x x x x . .          4   x x x x x . .
    5   x x x x x x .          5   x x x x x x .
    6   x x x x x x x          6   x x x x x x x

Keys and values arrive in *segments*: one if they are together in memory, several if a paged cache is fragmented.
Sources: Vaswani et al., Attention Is All You Need, 1706.03762, section 3.2; grouped-query attention: Ainslie et al.,
2305.13245; sliding window: Jiang et al., Mistral 7B, 2310.06825.
"""

from collections.abc import Sequence

import numpy as np

from minillm.arrays import Array, Bool, Float

# For each segment (keys, values).
Segments = Sequence[tuple[Float[Array, "kv_heads _ head_dim"], Float[Array, "kv_heads _ head_dim"]]]


def softmax(scores: Float[Array, "*batch keys"]) -> Float[Array, "*batch keys"]:
    """Return exp(scores), scaled to sum to 1. The largest score is subtracted first, so that exp cannot overflow."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def causal_mask(queries: int, keys: int, start: int, window: int | None) -> Bool[Array, "queries keys"]:
    """Return which keys each query sees: its own and those before it, at most `window` in all.

    Args:
        queries: number of queries; the first is at position `start`.
        keys: number of keys; the first is at position 0.
        start: position of the first query.
        window: number of last keys that a query sees, its own included; None for all.

    Example:
        >>> from minillm.attention import causal_mask
        >>> causal_mask(queries=2, keys=4, start=2, window=None).astype(int)
        array([[1, 1, 1, 0],
               [1, 1, 1, 1]])
    """
    query_position = start + np.arange(queries)[:, None]  # [queries, 1]
    key_position = np.arange(keys)  # [keys]
    visible = key_position <= query_position  # [queries, keys]
    return visible if window is None else visible & (key_position > query_position - window)


def naive_attention_weights(
    q: Float[Array, "tokens heads head_dim"], k: Float[Array, "tokens kv_heads head_dim"], window: int | None
) -> Float[Array, "heads tokens tokens"]:
    """Return softmax(Q K^T / sqrt(d)) of a sequence: how much each query (axis 1) takes from each key (axis 2)."""
    group = q.shape[1] // k.shape[1]  # query heads that share a key head
    queries, keys = q.swapaxes(0, 1), np.repeat(k.swapaxes(0, 1), group, axis=0)  # [heads, tokens, head_dim]
    scores = queries @ keys.swapaxes(-1, -2) / np.sqrt(q.shape[2]).astype(q.dtype)  # [heads, tokens, tokens]
    return softmax(np.where(causal_mask(len(q), len(q), 0, window), scores, -np.inf))


def naive_attention(
    q: Float[Array, "tokens heads head_dim"],
    k: Float[Array, "tokens kv_heads head_dim"],
    v: Float[Array, "tokens kv_heads head_dim"],
    window: int | None,
) -> Float[Array, "tokens heads*head_dim"]:
    """Compute attention of a whole sequence without a cache: the naive twin of `attend`."""
    values = np.repeat(v.swapaxes(0, 1), q.shape[1] // v.shape[1], axis=0)  # [heads, tokens, head_dim]
    output = naive_attention_weights(q, k, window) @ values  # [heads, tokens, head_dim]
    return output.swapaxes(0, 1).reshape(len(q), -1)


def attend(
    q: Float[Array, "queries heads head_dim"], segments: Segments, start: int, window: int | None
) -> Float[Array, "queries heads*head_dim"]:
    """Compute attention of new queries over a cache that already holds their own keys and values.

    Args:
        q: the queries of the new tokens.
        segments: keys and values `[kv_heads, keys, head_dim]`, in order; the last `queries` keys are the new ones.
        start: number of tokens that were cached before these queries.
        window: number of last keys that a query sees, its own included; None for all.
    """
    (queries, heads, head_dim), kv_heads = q.shape, len(segments[0][0])
    # Query heads that share a key head go side by side, so that the keys are not repeated.
    q = q.reshape(queries, kv_heads, heads // kv_heads, head_dim).transpose(1, 2, 0, 3)
    # q [kv_heads, group, queries, head_dim] @ keys[:, None] [kv_heads, 1, keys, head_dim], transposed
    scores = np.concatenate([q @ keys[:, None].swapaxes(-1, -2) for keys, _ in segments], axis=-1)
    scores *= head_dim**-0.5  # [kv_heads, group, queries, keys]
    weights = softmax(np.where(causal_mask(queries, scores.shape[-1], start, window), scores, -np.inf))
    splits = np.cumsum([keys.shape[1] for keys, _ in segments])[:-1]
    output = np.zeros_like(q)  # [kv_heads, group, queries, head_dim]
    for segment_weights, (_, values) in zip(np.split(weights, splits, axis=-1), segments, strict=True):
        output = output + segment_weights @ values[:, None]
    return output.transpose(2, 0, 1, 3).reshape(queries, heads * head_dim)
