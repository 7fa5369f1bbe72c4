"""The one forward pass of the engine. Prefill, decode, batching and verification are this function with other tokens.

A *ragged batch* is a list of (new tokens, the cache they extend). The new tokens of all sequences are laid end to end
as the rows of one matrix, `[tokens, dim]`, without padding; only attention ever asks which row belongs to whom
(selective batching: Yu et al., Orca, OSDI 2022). Architecture: Touvron et al., LLaMA, 2302.13971.
"""

from collections.abc import Sequence

from minillm.arrays import Array, Float, Int, Tokens
from minillm.attention import naive_attention_weights
from minillm.batch_checks import check_batch, check_layer, check_logit_rows, check_tokens
from minillm.kv_cache.cache import Cache, reserve
from minillm.kv_cache.contiguous import KVCache
from minillm.model import LayerWeights, Model
from minillm.ragged_batch import LayerCache, RaggedBatch, ragged_batch

CosSin = tuple[Array, Array]


def forward(model: Model, tokens: Tokens) -> Float[Array, "tokens vocab"]:
    """Logits after every token of one sequence, from nothing: the naive path, which keeps no cache.

    Raises:
        ValueError: no tokens, an id outside the vocabulary, or more tokens than the model's context.
    """
    tokens = check_tokens(model, tokens)
    return forward_batch(model, [(tokens, KVCache(model, len(tokens)))], logit_rows=[len(tokens)])


def forward_batch(
    model: Model, batch: Sequence[tuple[Tokens, Cache]], logit_rows: Sequence[int] | None = None
) -> Float[Array, "rows vocab"]:
    """Run new tokens of several sequences at once, each over its own cache, which then holds them too.

    Args:
        model: the model.
        batch: (new tokens, the cache they extend) for each sequence; lengths may differ.
        logit_rows: of how many last tokens of each sequence the logits are wanted; by default one each.

    Returns:
        the wanted rows, sequence after sequence: `[sequences, vocab]` by default.

    Raises:
        ValueError: a wrong argument, or a cache without room; no cache has been changed then.
    """
    new_tokens, caches = check_batch(model, batch)
    rows = check_logit_rows(logit_rows, new_tokens)
    reserve(caches, [len(tokens) for tokens in new_tokens])
    ragged = model.ops.send(ragged_batch(new_tokens, caches, rows))
    logits = model.ops.run(all_layers, model, ragged)
    for tokens, cache in zip(new_tokens, caches, strict=True):
        cache.length += len(tokens)
    return logits


def all_layers(model: Model, batch: RaggedBatch) -> Float[Array, "rows vocab"]:
    """From token ids to logits. Everything here stays where the backend computes, and nothing is asked of the host."""
    ops = model.ops
    cos_sin = _cos_sin(model, batch.positions)
    x = ops.embed(model.embedding, batch.tokens)  # [tokens, dim]
    for number, layer in enumerate(model.layers()):
        x = transformer_layer(model, layer, number, x, cos_sin, batch.spans, batch.caches)
    return ops.linear(ops.rms_norm(x[batch.logit_indices], model.final_norm, model.config.rms_norm_eps), model.head)


def transformer_layer(
    model: Model,
    layer: LayerWeights,
    number: int,
    x: Float[Array, "tokens dim"],
    cos_sin: CosSin,
    spans: Sequence[slice],
    caches: Sequence[LayerCache],
) -> Float[Array, "tokens dim"]:
    """Attention, then the MLP, each added to the residual stream."""
    ops, config = model.ops, model.config
    q, k, v = project_qkv(model, layer, x, cos_sin)
    mixed = ops.attention(q, k, v, spans, caches, number, config.sliding_windows[number])  # [tokens, heads*head_dim]
    x = ops.add_linear(x, mixed, layer.output, layer.output_bias)
    h = ops.rms_norm(x, layer.mlp_norm, config.rms_norm_eps)
    gate_up, inner = ops.linear(h, layer.gate_up, layer.gate_up_bias), config.intermediate_size  # [tokens, 2 * inner]
    return ops.add_linear(x, ops.swiglu(gate_up[:, :inner], gate_up[:, inner:]), layer.down, layer.down_bias)


def project_qkv(
    model: Model, layer: LayerWeights, x: Float[Array, "tokens dim"], cos_sin: CosSin
) -> tuple[Array, Array, Array]:
    """Queries `[tokens, heads, head_dim]`, keys and values `[tokens, kv_heads, head_dim]`; q and k are rotated."""
    ops, config = model.ops, model.config
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    h = ops.rms_norm(x, layer.attention_norm, config.rms_norm_eps)
    joined = ops.linear(h, layer.qkv, layer.qkv_bias).reshape(len(x), heads + 2 * kv_heads, config.head_dim)
    rotated, v = joined[:, : heads + kv_heads], joined[:, heads + kv_heads :]
    if layer.qk_norm is None:
        rotated = ops.rope(rotated, cos_sin)
    else:
        rotated = ops.norm_rope(rotated, layer.qk_norm, config.rms_norm_eps, cos_sin)
    return rotated[:, :heads], rotated[:, heads:], v


def attention_weights(model: Model, tokens: Tokens, layer: int) -> Float[Array, "heads tokens tokens"]:
    """How much each token (axis 1) takes from each token (axis 2) in every head of one layer; rows sum to 1.

    Raises:
        ValueError: wrong tokens, or no such layer.
    """
    tokens, wanted = check_tokens(model, tokens), check_layer(model, layer)
    cache, ops = KVCache(model, len(tokens)), model.ops
    batch = ops.send(ragged_batch([tokens], [cache], [0]))
    cos_sin = _cos_sin(model, batch.positions)
    x = ops.embed(model.embedding, batch.tokens)  # [tokens, dim]
    for number, weights in enumerate(model.layers()):
        if number == wanted:
            break
        x = transformer_layer(model, weights, number, x, cos_sin, batch.spans, batch.caches)
    q, k, _ = project_qkv(model, weights, x, cos_sin)
    return naive_attention_weights(ops.to_host(q), ops.to_host(k), model.config.sliding_windows[wanted])


def _cos_sin(model: Model, positions: Int[Array, "tokens"]) -> CosSin:
    cosine, sine = model.ops.cos_sin(positions, model.config.rope, model.config.head_dim)
    return model.ops.array(cosine, model.dtype), model.ops.array(sine, model.dtype)
