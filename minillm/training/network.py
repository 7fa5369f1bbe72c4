"""The whole network: forward, keeping what the backward pass needs, and backward, in the reverse order.

The same model as `transformer.py`, held equal to it by a property test. A batch is a rectangle of token ids, every
sequence starts at position 0, and all positions are computed at once: training has no cache and no decode phase.
"""

from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.layers import apply_rope, rope_cos_sin
from minillm.training import operations as op
from minillm.training.parameters import LayerParameters, ParameterVector

Rotation = tuple[Array, Array]


class Network:
    """Forward and backward for batches of one shape.

    Attributes:
        parameters: what is differentiated with respect to.
        batch, time: the shape of the token ids.
    """

    def __init__(self, parameters: ParameterVector, batch: int, time: int) -> None:
        """Rotations, which all layers and batches share."""
        self.parameters, self.config = parameters, parameters.config
        self.batch, self.time = batch, time
        positions = np.tile(np.arange(time), batch)  # [batch * time]
        dtype = parameters.vector.dtype
        cosine, sine = rope_cos_sin(positions, self.config.rope, self.config.head_dim)
        self.rotation: Rotation = cosine.astype(dtype), sine.astype(dtype)

    def forward(self, tokens: Int[Array, "{self.batch} {self.time}"]) -> tuple[Float[Array, "rows vocab"], list[Any]]:
        """Logits of every position, `[batch * time, vocab]`, and what each layer saved."""
        weights, saved = self.parameters, []
        x = weights.embedding[tokens.ravel()]  # [rows, dim]
        for layer in weights.layers:
            x, kept = self._layer(layer, x)
            saved.append(kept)
        h, kept = op.rms_norm(x, weights.final_norm, self.config.rms_norm_eps)
        saved.append((tokens.ravel(), h, kept))
        return op.linear(h, weights.head), saved

    def backward(self, d_logits: Float[Array, "rows vocab"], saved: list[Any], gradients: ParameterVector) -> None:
        """Fill `gradients` with the loss's gradient with respect to every parameter; uses `saved` up."""
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
        mixed, attention = op.attention(q, k, v)
        mixed = self._rows(mixed)
        x = x + op.linear(mixed, layer.output)
        h2, norm2 = op.rms_norm(x, layer.mlp_norm, eps)
        gate_up = op.linear(h2, layer.gate_up)  # [rows, 2 * inner]
        product, gates = op.swiglu(gate_up[:, :inner], gate_up[:, inner:])
        x = x + op.linear(product, layer.down)
        return x, (h, norm, attention, mixed, h2, norm2, product, gates)

    def _layer_backward(self, layer: LayerParameters, d_x: Array, saved: Any, d_layer: LayerParameters) -> Array:
        """Bottom up; each `d_x +` is the residual stream, which passes gradients on unchanged."""
        h, norm, attention, mixed, h2, norm2, product, gates = saved
        inner = self.config.intermediate_size
        d_product = op.linear_backward(d_x, product, layer.down, d_layer.down)
        d_gate_up = np.empty((len(d_x), 2 * inner), d_x.dtype)
        op.swiglu_backward(d_product, gates, d_gate_up[:, :inner], d_gate_up[:, inner:])
        d_h2 = op.linear_backward(d_gate_up, h2, layer.gate_up, d_layer.gate_up)
        d_x = d_x + op.rms_norm_backward(d_h2, layer.mlp_norm, norm2, d_layer.mlp_norm)
        d_mixed = op.linear_backward(d_x, mixed, layer.output, d_layer.output)
        d_qkv = self._heads_backward(*op.attention_backward(self._grouped(d_mixed), attention))
        d_h = op.linear_backward(d_qkv, h, layer.qkv, d_layer.qkv)
        return d_x + op.rms_norm_backward(d_h, layer.attention_norm, norm, d_layer.attention_norm)

    def _heads(self, qkv: Array) -> tuple[Array, Array, Array]:
        """Cut `[rows, all heads]` into q, k and v, rotate q and k, and lay them out as attention wants them."""
        heads, kv_heads = self.config.num_attention_heads, self.config.num_key_value_heads
        joined = qkv.reshape(len(qkv), heads + 2 * kv_heads, self.config.head_dim)
        turned = apply_rope(joined[:, : heads + kv_heads], self.rotation)
        return self._grouped(turned[:, :heads]), self._grouped(turned[:, heads:]), self._grouped(joined[:, -kv_heads:])

    def _heads_backward(self, d_q: Array, d_k: Array, d_v: Array) -> Array:
        """The reverse of `_heads`; the derivative of a rotation is the rotation back."""
        heads, kv_heads = self.config.num_attention_heads, self.config.num_key_value_heads
        d_turned = np.concatenate([self._rows(d_q), self._rows(d_k)], axis=1)
        cosine, sine = self.rotation
        d_turned = apply_rope(d_turned.reshape(len(d_turned), heads + kv_heads, -1), (cosine, -sine))
        return np.concatenate([d_turned.reshape(len(d_turned), -1), self._rows(d_v)], axis=1)

    def _grouped(self, x: Array) -> Array:
        """Rows of heads to `[batch, kv_heads, group, time, head_dim]`: heads that share a key head together."""
        x = x.reshape(self.batch, self.time, self.config.num_key_value_heads, -1, self.config.head_dim)
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1, 4))

    def _rows(self, x: Array) -> Array:
        """The reverse of `_grouped`: `[batch * time, heads * head_dim]`."""
        return x.transpose(0, 3, 1, 2, 4).reshape(self.batch * self.time, -1)


def add_rows(table: Float[Array, "vocab dim"], ids: Int[Array, "rows"], rows: Float[Array, "rows dim"]) -> None:
    """table[ids[i]] += rows[i] for every i, ids repeating: rows of one id are first brought together and summed."""
    order = np.argsort(ids, kind="stable")
    unique, first = np.unique(ids[order], return_index=True)
    table[unique] += np.add.reduceat(rows[order], first, axis=0)
