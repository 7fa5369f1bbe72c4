"""The exact meaning of an edited cache: a list of (token, position) pairs.

With one layer, a cached key or value depends on its own token and position only. So after any removal or shift, the
cache equals one that was filled with the pairs that are left. A new token sees itself and all pairs of the cache (or
those within its sliding window, which is counted in positions). With more layers, a key also depends on the tokens that
its token saw, and an edited cache has no such meaning.

    >>> cached = appended([], [5, 6, 7])
    >>> removed(cached, 0, 1)
    [Pair(token=6, position=1), Pair(token=7, position=2)]
    >>> shifted(removed(cached, 0, 1), 0, -1)
    [Pair(token=6, position=0), Pair(token=7, position=1)]
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minillm import reference
from minillm.arrays import Array, Float, Int
from minillm.config import ModelConfig, RopeParameters


class Pair(NamedTuple):
    """One token of a cache, and the position by which its key was rotated."""

    token: int
    position: int


def appended(cached: Sequence[Pair], tokens: Sequence[int]) -> list[Pair]:
    """Return the cache with new tokens. Their positions begin after the last token's."""
    first = cached[-1].position + 1 if cached else 0
    return [*cached, *(Pair(token, first + i) for i, token in enumerate(tokens))]


def removed(cached: Sequence[Pair], begin: int, end: int) -> list[Pair]:
    """Return the cache without the tokens from index `begin` to `end` - 1. The positions of later ones stay."""
    return [*cached[:begin], *cached[end:]]


def shifted(cached: Sequence[Pair], begin: int, by: int) -> list[Pair]:
    """Return the cache with `by` added to the positions of the tokens from index `begin` on."""
    return [*cached[:begin], *(Pair(token, position + by) for token, position in cached[begin:])]


def is_plain(cached: Sequence[Pair]) -> bool:
    """Return whether the positions are 0, 1, 2, ...: a cache that could have been filled by prefill."""
    return all(pair.position == index for index, pair in enumerate(cached))


def from_zero(cached: Sequence[Pair]) -> list[Pair]:
    """Return the cache, moved so that its positions begin at 0. RoPE depends on distances only."""
    return shifted(cached, 0, -cached[0].position) if cached else []


def edited_logits(config: ModelConfig, weights: Mapping[str, Array], cached: Sequence[Pair]) -> Float[Array, "vocab"]:
    """Return the logits after the last token of a model with one layer, in float64.

    For the positions 0, 1, 2, ... they are the last row of `reference.forward`, in a fraction of its time.

    Args:
        config: the architecture.
        weights: float64 arrays `[out, in]` under their Hugging Face names.
        cached: the tokens and positions of the cache. The last pair is the token whose logits are returned.
    """
    tokens, positions = (np.array(numbers) for numbers in zip(*cached, strict=True))
    layer = {name.removeprefix("model.layers.0."): array for name, array in weights.items()}
    x = weights["model.embed_tokens.weight"][tokens]  # [cached, dim]
    h = reference.rms_norm(x, layer["input_layernorm.weight"], config)
    q, k, v = (reference.project(layer, f"self_attn.{name}_proj", h) for name in "qkv")
    d, outputs = config.head_dim, []
    seen = positions > positions[-1] - (config.sliding_windows[0] or np.inf)  # [cached]
    for head in range(config.num_attention_heads):
        shared = head // (config.num_attention_heads // config.num_key_value_heads)
        q_head, k_head, v_head = (a[:, n * d : (n + 1) * d] for a, n in ((q, head), (k, shared), (v, shared)))
        if config.qk_norm:
            q_head = reference.rms_norm(q_head, layer["self_attn.q_norm.weight"], config)
            k_head = reference.rms_norm(k_head, layer["self_attn.k_norm.weight"], config)
        query = rotated(q_head[-1:], positions[-1:], config.rope)[0]
        scores = np.where(seen, rotated(k_head, positions, config.rope) @ query / math.sqrt(d), -np.inf)  # [cached]
        attention = np.exp(scores - scores.max())
        outputs.append(attention / attention.sum() @ v_head)
    x = x[-1:] + reference.project(layer, "self_attn.o_proj", np.concatenate(outputs)[None])  # [1, dim]
    x = x + reference.mlp(layer, reference.rms_norm(x, layer["post_attention_layernorm.weight"], config))
    output = "model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"
    return reference.rms_norm(x[0], weights["model.norm.weight"], config) @ weights[output].T


def rotated(
    x: Float[Array, "tokens head_dim"], positions: Int[Array, "tokens"], rope: RopeParameters
) -> Float[Array, "tokens head_dim"]:
    """Rotate each row by its own position. `reference.rope` does it for the positions 0, 1, 2, ..."""
    half = x.shape[1] // 2
    angles = positions[:, None] * np.array([reference.frequency(i, 2 * half, rope) for i in range(half)])
    a, b = x[:, :half], x[:, half:]
    return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], axis=1)
