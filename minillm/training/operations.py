"""The operations of a layer, each with its derivative next to it.

A forward function returns its result and what its backward function needs. `name_backward` takes the gradient of the
loss with respect to that result, and returns the gradients with respect to the inputs. `d_x` is the gradient with
respect to `x`: how much the loss grows when `x` grows. It has the shape of x. Everything follows from the chain rule
and from one fact: for `y = x @ W.T`, `d_x = d_y @ W` and `d_W = d_y.T @ x`. Source: Goodfellow et al., Deep Learning,
2016, section 6.5.
"""

from typing import Any

import numpy as np

from minillm.arrays import Array, Float
from minillm.attention import causal_mask

Saved = tuple[Any, ...]
QUERY_TILE = 128  # queries that attend at once


def linear(x: Float[Array, "tokens inner"], weight: Float[Array, "out inner"]) -> Float[Array, "tokens out"]:
    """Return y = x W^T."""
    return x @ weight.T


def linear_backward(
    d_y: Float[Array, "tokens out"],
    x: Float[Array, "tokens inner"],
    weight: Float[Array, "out inner"],
    d_weight: Float[Array, "out inner"],
) -> Float[Array, "tokens inner"]:
    """Write the weight's gradient into `d_weight`, and return d_x."""
    np.matmul(d_y.T, x, out=d_weight)
    return d_y @ weight


def rms_norm(
    x: Float[Array, "tokens dim"], weight: Float[Array, "dim"], eps: float
) -> tuple[Float[Array, "tokens dim"], Saved]:
    """Return y = x / sqrt(mean(x^2) + eps) * weight. Naive twin: `layers.rms_norm`."""
    mean_square = np.vecdot(x, x)[:, None] / x.dtype.type(x.shape[1])  # [tokens, 1]
    inverse = 1 / np.sqrt(mean_square + x.dtype.type(eps))
    normed = x * inverse
    return normed * weight, (normed, inverse)


def rms_norm_backward(
    d_y: Float[Array, "tokens dim"], weight: Float[Array, "dim"], saved: Saved, d_weight: Float[Array, "dim"]
) -> Float[Array, "tokens dim"]:
    """Write the weight's gradient into `d_weight`, and return d_x.

    Let r be the root of the mean square, and n = x / r. Then dr/dx = n / dim, so d_x = (d_n - n * mean(d_n * n)) / r.
    The component of d_n along n is removed, because making x longer does not change n.
    """
    normed, inverse = saved
    np.sum(d_y * normed, axis=0, out=d_weight)
    d_normed = d_y * weight
    along = np.vecdot(d_normed, normed)[:, None] / d_y.dtype.type(d_y.shape[1])  # [tokens, 1]
    d_normed -= normed * along
    d_normed *= inverse
    return d_normed


def swiglu(
    gate: Float[Array, "tokens inner"], up: Float[Array, "tokens inner"]
) -> tuple[Float[Array, "tokens inner"], Saved]:
    """Return y = silu(gate) * up, where silu(g) = g * sigmoid(g). Naive twin: `layers.swiglu`."""
    half = gate.dtype.type(0.5)
    sigmoid = np.tanh(half * gate)
    sigmoid *= half
    sigmoid += half
    silu = gate * sigmoid
    return silu * up, (sigmoid, silu, up)


def swiglu_backward(
    d_y: Float[Array, "tokens inner"], saved: Saved, d_gate: Float[Array, "tokens inner"], d_up: Float[Array, "_ inner"]
) -> None:
    """Write the gradients into `d_gate` and `d_up`, with silu'(g) = sigmoid + silu * (1 - sigmoid)."""
    sigmoid, silu, up = saved
    np.multiply(d_y, silu, out=d_up)
    slope = 1 - sigmoid
    slope *= silu
    slope += sigmoid
    slope *= up
    np.multiply(d_y, slope, out=d_gate)


def attention(
    q: Float[Array, "batch kv_heads group time head_dim"],
    k: Float[Array, "batch kv_heads 1 time head_dim"],
    v: Float[Array, "batch kv_heads 1 time head_dim"],
) -> tuple[Float[Array, "batch kv_heads group time head_dim"], Saved]:
    """Return causal attention of whole sequences. `group` query heads share a key head.

    It is computed in query tiles. A tile reads the keys up to its last query, so most masked scores are not computed.
    """
    output, all_weights = np.empty_like(q), []
    for tile in query_tiles(q.shape[3]):
        seen = slice(0, tile.stop)
        scores = q[..., tile, :] @ k[..., seen, :].swapaxes(-1, -2)  # [batch, kv_heads, group, queries, keys]
        scores *= scores.dtype.type(q.shape[-1] ** -0.5)
        np.copyto(scores, -np.inf, where=~causal_mask(tile.stop - tile.start, tile.stop, tile.start, None))
        scores -= scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores, out=scores)
        weights /= weights.sum(axis=-1, keepdims=True)
        np.matmul(weights, v[..., seen, :], out=output[..., tile, :])
        all_weights.append(weights)
    return output, (q, k, v, all_weights, output)


def attention_backward(
    d_output: Float[Array, "batch kv_heads group time head_dim"], saved: Saved
) -> tuple[
    Float[Array, "batch kv_heads group time head_dim"],
    Float[Array, "batch kv_heads 1 time head_dim"],
    Float[Array, "batch kv_heads 1 time head_dim"],
]:
    """Return d_q, d_k and d_v. The gradient of a key head is the sum over the query heads that share it.

    The derivative of softmax is d_score = w * (d_w - sum(w * d_w)). The sum over the keys equals the much shorter
    sum(output * d_output) over head_dim (Dao et al., FlashAttention, 2205.14135, appendix B.2).
    """
    q, k, v, all_weights, output = saved
    d_q, d_k, d_v = np.empty_like(q), np.zeros_like(k), np.zeros_like(v)
    along = np.vecdot(output, d_output)[..., None]  # [batch, kv_heads, group, time, 1]
    for tile, weights in zip(query_tiles(q.shape[3]), all_weights, strict=True):
        seen, d_tile = slice(0, tile.stop), d_output[..., tile, :]
        d_v[..., seen, :] += (weights.swapaxes(-1, -2) @ d_tile).sum(axis=2, keepdims=True)
        d_scores = d_tile @ v[..., seen, :].swapaxes(-1, -2)  # [batch, kv_heads, group, queries, keys]
        d_scores -= along[..., tile, :]
        d_scores *= weights
        d_scores *= d_scores.dtype.type(q.shape[-1] ** -0.5)
        np.matmul(d_scores, k[..., seen, :], out=d_q[..., tile, :])
        d_k[..., seen, :] += (d_scores.swapaxes(-1, -2) @ q[..., tile, :]).sum(axis=2, keepdims=True)
    return d_q, d_k, d_v


def query_tiles(time: int) -> list[slice]:
    """Return slices of QUERY_TILE consecutive queries. The last one may be shorter."""
    return [slice(first, min(first + QUERY_TILE, time)) for first in range(0, time, QUERY_TILE)]
