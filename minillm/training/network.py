"""The whole network: a forward pass that saves what the backward pass needs, and the backward pass in reverse order.

It is the same model as `transformer.py`, and a property test compares the two. A batch is a rectangle of token ids.
Every sequence starts at position 0, and all positions are computed at once: training has no cache and no decode phase.
"""

from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.layers import apply_rope, rope_cos_sin
from minillm.training import operations as op
from minillm.training.parameters import LayerParameters, ParameterVector

CosSin = tuple[Array, Array]


class Network:
    """Forward and backward for batches of one shape.

    Attributes:
        parameters: the parameters, with respect to which `backward` differentiates.
        batch, time: the shape of the token ids.
    """

    def __init__(self, parameters: ParameterVector, batch: int, time: int) -> None:
        self.parameters, self.config = parameters, parameters.config
        self.batch, self.time = batch, time
        positions = np.tile(np.arange(time), batch)  # [batch * time]
        dtype = parameters.vector.dtype
        cosine, sine = rope_cos_sin(positions, self.config.rope, self.config.head_dim)
        self.cos_sin: CosSin = cosine.astype(dtype), sine.astype(dtype)  # the same for all layers and batches

    def forward(self, tokens: Int[Array, "{self.batch} {self.time}"]) -> tuple[Float[Array, "rows vocab"], list[Any]]:
        """Return the logits of every position, `[batch * time, vocab]`, and what each layer saved for `backward`."""
        weights, saved = self.parameters, []
        x = weights.embedding[tokens.ravel()]  # [rows, dim]
        for layer in weights.layers:
            x, kept = self._layer(layer, x)
            saved.append(kept)
        h, kept = op.rms_norm(x, weights.final_norm, self.config.rms_norm_eps)
        saved.append((tokens.ravel(), h, kept))
        return op.linear(h, weights.head), saved

    def backward(self, d_logits: Float[Array, "rows vocab"], saved: list[Any], gradients: ParameterVector) -> None:
        """Fill `gradients` with the gradient of the loss with respect to every parameter, and empty `saved`."""
        weights = self.parameters
        tokens, h, kept = saved.pop()
        d_h = op.linear_backward(d_logits, h, weights.head, gradients.head)
        d_x = op.rms_norm_backward(d_h, weights.final_norm, kept, gradients.final_norm)
        for layer, d_layer in zip(reversed(weights.layers), reversed(gradients.layers), strict=True):
            d_x = self._layer_backward(layer, d_x, saved.pop(), d_layer)
        if gradients.head is not gradients.embedding:
            gradients.embedding[...] = 0
        add_rows(gradients.embedding, tokens, d_x)  # a tied embedding is used twice, so its gradients add up

    def _layer(self, layer: LayerParameters, x: Array) -> tuple[Array, Any]:
        eps, inner = self.config.rms_norm_eps, self.config.intermediate_size
        h, norm = op.rms_norm(x, layer.attention_norm, eps)
        q, k, v = self._heads(op.linear(h, layer.qkv))
        by_head, attention = op.attention(q, k, v)
        attention_output = self._rows(by_head)
        x = x + op.linear(attention_output, layer.output)
        h2, norm2 = op.rms_norm(x, layer.mlp_norm, eps)
        gate_up = op.linear(h2, layer.gate_up)  # [rows, 2 * inner]
        product, gates = op.swiglu(gate_up[:, :inner], gate_up[:, inner:])
        x = x + op.linear(product, layer.down)
        return x, (h, norm, attention, attention_output, h2, norm2, product, gates)

    def _layer_backward(self, layer: LayerParameters, d_x: Array, saved: Any, d_layer: LayerParameters) -> Array:
        """Go through the layer in reverse. Each `d_x +` is the residual stream, which passes gradients on unchanged."""
        h, norm, attention, attention_output, h2, norm2, product, gates = saved
        inner = self.config.intermediate_size
        d_product = op.linear_backward(d_x, product, layer.down, d_layer.down)
        d_gate_up = np.empty((len(d_x), 2 * inner), d_x.dtype)
        op.swiglu_backward(d_product, gates, d_gate_up[:, :inner], d_gate_up[:, inner:])
        d_h2 = op.linear_backward(d_gate_up, h2, layer.gate_up, d_layer.gate_up)
        d_x = d_x + op.rms_norm_backward(d_h2, layer.mlp_norm, norm2, d_layer.mlp_norm)
        d_output = op.linear_backward(d_x, attention_output, layer.output, d_layer.output)
        d_qkv = self._heads_backward(*op.attention_backward(self._grouped(d_output), attention))
        d_h = op.linear_backward(d_qkv, h, layer.qkv, d_layer.qkv)
        return d_x + op.rms_norm_backward(d_h, layer.attention_norm, norm, d_layer.attention_norm)

    def _heads(self, qkv: Array) -> tuple[Array, Array, Array]:
        """Split `[rows, all heads]` into q, k and v, rotate q and k, and bring all three to the shape of attention."""
        heads, kv_heads = self.config.num_attention_heads, self.config.num_key_value_heads
        joined = qkv.reshape(len(qkv), heads + 2 * kv_heads, self.config.head_dim)
        rotated = apply_rope(joined[:, : heads + kv_heads], self.cos_sin)
        q, k, v = rotated[:, :heads], rotated[:, heads:], joined[:, -kv_heads:]
        return self._grouped(q), self._grouped(k), self._grouped(v)

    def _heads_backward(self, d_q: Array, d_k: Array, d_v: Array) -> Array:
        """Reverse `_heads`: a gradient passes a rotation backward by the inverse rotation."""
        heads, kv_heads = self.config.num_attention_heads, self.config.num_key_value_heads
        d_rotated = np.concatenate([self._rows(d_q), self._rows(d_k)], axis=1)
        cosine, sine = self.cos_sin
        d_joined = apply_rope(d_rotated.reshape(len(d_rotated), heads + kv_heads, -1), (cosine, -sine))
        return np.concatenate([d_joined.reshape(len(d_joined), -1), self._rows(d_v)], axis=1)

    def _grouped(self, x: Array) -> Array:
        """Reshape rows to `[batch, kv_heads, group, time, head_dim]`, where a group shares a key head."""
        x = x.reshape(self.batch, self.time, self.config.num_key_value_heads, -1, self.config.head_dim)
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1, 4))

    def _rows(self, x: Array) -> Array:
        """Reverse `_grouped`: reshape to `[batch * time, heads * head_dim]`."""
        return x.transpose(0, 3, 1, 2, 4).reshape(self.batch * self.time, -1)


def add_rows(table: Float[Array, "vocab dim"], ids: Int[Array, "rows"], rows: Float[Array, "rows dim"]) -> None:
    """Add rows[i] to table[ids[i]] for every i. Ids may repeat: the rows of an id are first grouped and summed."""
    order = np.argsort(ids, kind="stable")
    unique, first = np.unique(ids[order], return_index=True)
    table[unique] += np.add.reduceat(rows[order], first, axis=0)
