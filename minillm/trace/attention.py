"""Attention weights of a run, computed after it: those of a token never depend on the tokens after it.

So one naive pass over the finished sequence has the weights of every pass of the run, and the run itself is not
touched. Queries and keys are those of the run to the bit on the exact backend. Draft tokens that were rejected are not
in the sequence: they have none.
"""

import base64
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minillm.arrays import Array, Float
from minillm.attention import naive_attention_weights
from minillm.backends.plain import Plain
from minillm.completion import Completion
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model
from minillm.ragged_batch import RaggedBatch
from minillm.transformer import forward_batch

FEW_LAYERS = 6  # a model with no more of them is shown whole
QueriesAndKeys = tuple[Float[Array, "tokens heads head_dim"], Float[Array, "tokens kv_heads head_dim"]]


def default_layers(model: Model) -> list[int]:
    """Return all layers of a small model, else the first, the middle and the last."""
    count = model.config.num_hidden_layers
    return list(range(count)) if count <= FEW_LAYERS else [0, count // 2, count - 1]


def attention_lines(
    model: Model, completions: Sequence[Completion], step: int, layers: Sequence[int] | None
) -> Iterator[dict[str, Any]]:
    """Yield a line for each request, layer and head: the weights of all tokens that went through the model."""
    chosen = default_layers(model) if layers is None else layers
    for number, completion in enumerate(completions):
        tokens = completion.sequence[:-1]  # the last one was never fed back
        if not tokens:
            continue
        seen = queries_and_keys(model, tokens, chosen, None)
        for layer, (queries, keys) in seen.items():
            group = queries.shape[1] // keys.shape[1]
            for head in range(queries.shape[1]):
                q, k = queries[:, head : head + 1], keys[:, head // group : head // group + 1]
                [weights] = naive_attention_weights(q, k, model.config.sliding_windows[layer])
                line = {"t": "attention", "s": step, "id": number, "layer": layer, "head": head}
                yield line | packed(weights)


def queries_and_keys(
    model: Model, tokens: Sequence[int], layers: Sequence[int], cache_dtype: str | None
) -> dict[int, QueriesAndKeys]:
    """Return queries and keys of these layers in float64, from one pass over the sequence."""
    seen: dict[int, QueriesAndKeys] = {}
    ops = copy(model.ops)
    setattr(ops, "attention", partial(_attention, model.ops, seen, layers))  # noqa: B010  # mypy: a method
    setattr(ops, "run", partial(Plain.run, ops))  # noqa: B010  # on one thread: rows of a sequence stay together
    watched = replace(model, ops=ops)
    forward_batch(watched, [(tokens, KVCache(watched, len(tokens), cache_dtype))], [0])
    return seen


def _attention(
    ops: Plain,
    seen: dict[int, QueriesAndKeys],
    layers: Sequence[int],
    q: Array,
    k: Array,
    v: Array,
    batch: RaggedBatch,
    layer: int,
    window: int | None,
) -> Array:
    """Attend as the backend does, and keep the queries, and the keys as the cache has them."""
    output = ops.attention(q, k, v, batch, layer, window)
    if layer in layers:
        [cache] = batch.caches
        keys = np.concatenate([np.asarray(ops.to_host(keys)) for keys, _ in cache.segments(layer, len(q))], axis=1)
        seen[layer] = np.float64(ops.to_host(q)), np.float64(keys).swapaxes(0, 1)
    return output


def packed(weights: Float[Array, "tokens tokens"]) -> dict[str, Any]:
    """Return the weights as bytes: of query i its i + 1 weights, as fractions of the largest in 255 steps."""
    scales = [float(f"{row.max():.4g}") for row in weights]
    rows = [np.rint(row[: i + 1] / scales[i] * 255).clip(0, 255) for i, row in enumerate(weights)]
    data = np.concatenate(rows).astype(np.uint8).tobytes()
    return {"scales": scales, "weights": base64.b64encode(data).decode()}
