"""Attention weights of a run, computed after it: those of a token never depend on the tokens after it.

So one naive pass over the finished sequence has the weights of every pass of the run, and the run itself is not
touched. Draft tokens that were rejected are not in the sequence, so they have no weights. The products are in float64:
on the exact backend, the bytes below are then the same on every machine.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
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
from minillm.parallel.backend import OnRanks
from minillm.parallel.pipeline import OnStage
from minillm.ragged_batch import RaggedBatch
from minillm.transformer import forward_batch

FEW_LAYERS = 6  # all layers of a model with no more are recorded
STEPS = 255  # from 0 to the largest weight of a row
QueriesAndKeys = tuple[Float[Array, "tokens heads head_dim"], Float[Array, "tokens kv_heads head_dim"]]


def layers_of(model: Model, layers: Sequence[int] | None) -> list[int]:
    """Return the layers to record: all of a small model, else the first, the middle and the last."""
    count = model.config.num_hidden_layers
    few = range(count) if count <= FEW_LAYERS else (0, count // 2, count - 1)
    return list(few if layers is None else layers)


def check_attention(model: Model, layers: Sequence[int] | None) -> str:
    """Return why the attention of these layers cannot be recorded; "" if it can."""
    if isinstance(model.ops, OnRanks | OnStage):
        return "attention is recorded of a model that is whole, in one process"
    return missing_layers(model, layers or [])


def size_of_attention(model: Model, completions: Sequence[Completion], layers: Sequence[int] | None) -> int:
    """Return about how many bytes the attention of these requests takes in a trace."""
    weights = sum(len(completion.sequence) ** 2 for completion in completions) // 2
    return weights * len(layers_of(model, layers)) * model.config.num_attention_heads * 4 // 3  # base64


def missing_layers(model: Model, layers: Sequence[int]) -> str:
    """Return which of these layers the model does not have; "" if it has all."""
    last = model.config.num_hidden_layers - 1
    if max(layers, default=0) <= last:
        return ""
    return f"the attention of layer {max(layers)} was asked for, and the layers of {model.name} are 0 to {last}"


def attention_lines(
    model: Model,
    completions: Sequence[Completion],
    layers: Sequence[int] | None,
    cache_dtypes: Mapping[int, str | None],
) -> Iterator[dict[str, Any]]:
    """Yield a line for each request, layer and head: the weights of all tokens that went through the model."""
    for number, completion in enumerate(completions):
        tokens = completion.sequence[:-1]  # the last one was never fed back
        chosen = layers_of(model, layers) if tokens else []
        seen = queries_and_keys(model, tokens, chosen, cache_dtypes.get(number)) if chosen else {}
        for layer, (queries, keys) in seen.items():
            for head, weights in enumerate(weights_of(queries, keys, model.config.sliding_windows[layer])):
                yield {"t": "attention", "id": number, "layer": layer, "head": head} | packed(weights)


def queries_and_keys(
    model: Model, tokens: Sequence[int], layers: Sequence[int], cache_dtype: str | None
) -> dict[int, QueriesAndKeys]:
    """Return queries and keys of these layers in float64, from one pass over the sequence."""
    seen: dict[int, QueriesAndKeys] = {}
    ops = copy(model.ops)
    setattr(ops, "attention", partial(_attention, model.ops, seen, layers))  # noqa: B010  # mypy: a method
    setattr(ops, "run", partial(Plain.run, ops))  # noqa: B010  # in one thread, which sees all rows
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
        segments = [ops.to_host(keys) for keys, _ in cache.segments(layer, len(q))]  # [kv_heads, tokens, head_dim]
        queries, keys = np.asarray(ops.to_host(q), np.float64), np.concatenate(segments, axis=1, dtype=np.float64)
        seen[layer] = queries, keys.swapaxes(0, 1)
    return output


def weights_of(
    queries: Float[Array, "tokens heads head_dim"], keys: Float[Array, "tokens kv_heads head_dim"], window: int | None
) -> Iterator[Float[Array, "tokens tokens"]]:
    """Yield the weights of each head, one at a time: those of a long sequence are large."""
    group = queries.shape[1] // keys.shape[1]  # query heads that share a key head
    for head in range(queries.shape[1]):
        q, k = queries[:, head : head + 1], keys[:, head // group : head // group + 1]
        yield naive_attention_weights(q, k, window)[0]


def packed(weights: Float[Array, "tokens tokens"]) -> dict[str, Any]:
    """Return the weights as bytes: of query i its i + 1 weights, as fractions of the largest.

    Example:
        >>> import numpy as np
        >>> from minillm.trace.attention import packed
        >>> packed(np.array([[1.0, 0.0], [0.2, 0.8]]))  # 255; 64, 255
        {'scales': [1.0, 0.8], 'weights': '/0D/'}
    """
    scales = [float(f"{row.max():.4g}") for row in weights]
    rows = [np.rint(row[: i + 1] / scales[i] * STEPS).clip(0, STEPS) for i, row in enumerate(weights)]
    data = np.concatenate(rows).astype(np.uint8).tobytes()
    return {"scales": scales, "weights": base64.b64encode(data).decode()}


def unpacked(line: Mapping[str, Any]) -> Float[Array, "tokens tokens"]:
    """Return the weights of an attention line: 0 where a query does not see a key."""
    count = len(line["scales"])
    weights = np.zeros((count, count))
    data = np.frombuffer(base64.b64decode(line["weights"]), np.uint8)
    weights[np.tril_indices(count)] = data
    return weights / STEPS * np.array(line["scales"])[:, None]
