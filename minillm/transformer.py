"""The one forward pass of the engine. Prefill, decode, batching and verification call it with different tokens.

A *ragged batch* is a list of (new tokens, the cache they extend). The new tokens of all sequences are the rows of one
matrix, `[tokens, dim]`, without padding. Only attention asks which row belongs to which sequence (selective batching:
Yu et al., Orca, OSDI 2022). Architecture: Touvron et al., LLaMA, 2302.13971.

    embedding -+-> norm -> q, k, v -> RoPE -> attention -> output -> + -+-> norm -> MLP -> + -> next layer
               |                                                     |  |                  |
               +------------------ residual stream ------------------+  +------------------+
    after the last layer: norm -> head -> logits

`model.ops` is the backend. `Plain` in backends/plain.py shows what each of its methods means.
"""

from collections.abc import Sequence

from minillm.arrays import Array, Float, Int, Tokens
from minillm.attention import naive_attention_weights
from minillm.batch_checks import check_batch, check_layer, check_logit_rows, check_tokens
from minillm.events import PassBegun, PassEnded, Rows, listener
from minillm.kv_cache.cache import Cache, reserve
from minillm.kv_cache.contiguous import KVCache
from minillm.model import LayerWeights, Model
from minillm.ragged_batch import RaggedBatch, ragged_batch
from minillm.support.forks import GATE

CosSin = tuple[Array, Array]  # [tokens, 1, half] each, of the angles by which RoPE rotates queries and keys


def forward(model: Model, tokens: Tokens, cache_dtype: str | None = None) -> Float[Array, "tokens vocab"]:
    """Return the logits after every token of one sequence, computed with an empty cache: the naive path.

    Args:
        model: the model.
        tokens: the token ids of the sequence.
        cache_dtype: "int8" rounds keys and values as a cache in int8 does: the naive path of such caches.

    Raises:
        ValueError: no tokens, an id outside the vocabulary, more tokens than the model's context, or a wrong dtype.

    Example:
        >>> model = minillm.load("story")
        >>> minillm.forward(model, [5, 6, 7]).shape
        (3, 2048)
    """
    tokens = check_tokens(model, tokens)
    return forward_batch(model, [(tokens, KVCache(model, len(tokens), cache_dtype))], logit_rows=[len(tokens)])


def forward_batch(
    model: Model, batch: Sequence[tuple[Tokens, Cache]], logit_rows: Sequence[int] | None = None
) -> Float[Array, "rows vocab"]:
    """Run new tokens of several sequences at once. Each extends its own cache, which then holds them too.

    Args:
        model: the model.
        batch: for each sequence, (new tokens, the cache they extend); lengths and dtypes of the caches may differ.
        logit_rows: for each sequence, the number of its last tokens whose logits are returned; by default 1 each.

    Returns:
        the logits of those rows, sequence after sequence: `[sequences, vocab]` by default.

    Raises:
        ValueError: a wrong argument, or a cache that is too small; no cache has been changed then.

    Example:
        >>> model = minillm.load("story")
        >>> a, b = minillm.KVCache(model, 16), minillm.KVCache(model, 16)
        >>> minillm.forward_batch(model, [([5, 6, 7], a), ([8], b)]).shape, a.length, b.length
        ((2, 2048), 3, 1)
    """
    new_tokens, caches = check_batch(model, batch)
    rows = check_logit_rows(logit_rows, new_tokens)
    reserve(caches, [len(tokens) for tokens in new_tokens])
    ragged = model.ops.send(ragged_batch(new_tokens, caches, rows))  # to the GPU, if the backend has one
    if tell := listener():
        tell(PassBegun(model, tuple(map(_rows, new_tokens, caches, rows))))
    with GATE.computing():  # a fork waits
        logits = model.ops.run(all_layers, model, ragged)  # all_layers(model, ragged), perhaps over several threads
    for tokens, cache in zip(new_tokens, caches, strict=True):
        cache.length += len(tokens)
    if tell:
        tell(PassEnded(model))
    return logits


def _rows(tokens: Int[Array, "new"], cache: Cache, logit_rows: int) -> Rows:
    return Rows(cache, cache.length, tuple(int(token) for token in tokens), logit_rows)


def all_layers(model: Model, batch: RaggedBatch) -> Float[Array, "rows vocab"]:
    """Compute logits from token ids. All arrays stay where the backend computes."""
    x = run_layers(model, embed(model, batch), batch, 0, model.config.num_hidden_layers)
    return head(model, x[batch.logit_indices])


def embed(model: Model, batch: RaggedBatch) -> Float[Array, "tokens dim"]:
    """Return the embedding's row of each new token, in the dtype of activations."""
    table, rows = model.embedding_of(batch.tokens)
    return model.ops.embed(table, rows).astype(model.dtype, copy=False)


def run_layers(
    model: Model, x: Float[Array, "tokens dim"], batch: RaggedBatch, first: int, end: int
) -> Float[Array, "tokens dim"]:
    """Return the residual stream after layers `first` to `end - 1`; `x` is the stream before them."""
    cos_sin = _cos_sin(model, batch.positions)
    number = first
    for layer in model.layers(first, end):
        x = transformer_layer(model, layer, number, x, cos_sin, batch)
        del layer  # a streamed layer's memory is free when the next one is waited for; `enumerate` would keep it
        number += 1
    return x


def head(model: Model, x: Float[Array, "rows dim"]) -> Float[Array, "rows vocab"]:
    """Return the logits of the last layer's outputs."""
    return model.ops.logits(model.ops.rms_norm(x, model.final_norm, model.config.rms_norm_eps), model.head)


def transformer_layer(
    model: Model,
    layer: LayerWeights,
    number: int,
    x: Float[Array, "tokens dim"],
    cos_sin: CosSin,
    batch: RaggedBatch,
) -> Float[Array, "tokens dim"]:
    """Add attention, then the MLP, to the residual stream `x`."""
    ops, config = model.ops, model.config
    q, k, v = project_qkv(model, layer, x, cos_sin)
    # Writes k and v into each sequence's cache, then attends over it: `Plain.attention` in backends/plain.py.
    window = config.sliding_windows[number]
    attention_output = ops.attention(q, k, v, batch, number, window)  # [tokens, heads*head_dim]
    x = ops.add_linear(x, attention_output, layer.output, layer.output_bias)
    h = ops.rms_norm(x, layer.mlp_norm, config.rms_norm_eps)
    gate_up = ops.linear(h, layer.gate_up, layer.gate_up_bias)  # [tokens, 2 * inner]
    inner = config.intermediate_size
    return ops.add_linear(x, ops.swiglu(gate_up[:, :inner], gate_up[:, inner:]), layer.down, layer.down_bias)


def project_qkv(
    model: Model, layer: LayerWeights, x: Float[Array, "tokens dim"], cos_sin: CosSin
) -> tuple[Array, Array, Array]:
    """Return queries `[tokens, heads, head_dim]`, keys and values `[tokens, kv_heads, head_dim]`, q and k rotated."""
    ops, config = model.ops, model.config
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    h = ops.rms_norm(x, layer.attention_norm, config.rms_norm_eps)
    joined = ops.linear(h, layer.qkv, layer.qkv_bias).reshape(len(x), heads + 2 * kv_heads, config.head_dim)
    q_and_k, v = joined[:, : heads + kv_heads], joined[:, heads + kv_heads :]
    if layer.qk_norm is None:
        q_and_k = ops.rope(q_and_k, cos_sin)
    else:
        q_and_k = ops.norm_rope(q_and_k, layer.qk_norm, config.rms_norm_eps, cos_sin)
    return q_and_k[:, :heads], q_and_k[:, heads:], v


def attention_weights(model: Model, tokens: Tokens, layer: int) -> Float[Array, "heads tokens tokens"]:
    """Return how much each token (axis 1) takes from each token (axis 2), in every head of one layer; rows sum to 1.

    Raises:
        ValueError: wrong tokens, or `layer` is not the number of a layer.

    Example:
        >>> model = minillm.load("story")
        >>> minillm.attention_weights(model, [5, 6, 7], layer=0).shape
        (6, 3, 3)
    """
    tokens, last = check_tokens(model, tokens), check_layer(model, layer)
    cache, ops = KVCache(model, len(tokens)), model.ops
    batch = ops.send(ragged_batch([tokens], [cache], [0]))
    x = run_layers(model, embed(model, batch), batch, 0, last)
    [weights] = model.layers(last, last + 1)
    q, k, _ = project_qkv(model, weights, x, _cos_sin(model, batch.positions))
    return naive_attention_weights(ops.to_host(q), ops.to_host(k), model.config.sliding_windows[last])


def _cos_sin(model: Model, positions: Int[Array, "tokens"]) -> CosSin:
    cosine, sine = model.ops.cos_sin(positions, model.config.rope, model.config.head_dim)
    return model.ops.array(cosine, model.dtype), model.ops.array(sine, model.dtype)
