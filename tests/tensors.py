"""Which tensors a model has, and tensors that lie in memory instead of a file."""

from dataclasses import dataclass

import numpy as np

from minillm.config import ModelConfig
from minillm.ragged_batch import RaggedBatch


@dataclass(frozen=True)
class ArrayTensor:
    """A tensor that lies in memory instead of a file."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    format, rows_together = "float32", 1

    def read(self) -> np.ndarray:
        return self.values

    def stored(self) -> np.ndarray:
        return self.values

    def cut(self, rows: range, columns: range) -> "ArrayTensor":
        return ArrayTensor(self.values[rows.start : rows.stop, columns.start : columns.stop])


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a model with this config, as Hugging Face names and shapes it."""
    dim, inner, d = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, dim)}
    for number in range(config.num_hidden_layers):
        layer = f"model.layers.{number}."
        projections = {
            "self_attn.q_proj": (q, dim, config.attention_bias),
            "self_attn.k_proj": (kv, dim, config.attention_bias),
            "self_attn.v_proj": (kv, dim, config.attention_bias),
            "self_attn.o_proj": (dim, q, config.attention_output_bias),
            "mlp.gate_proj": (inner, dim, config.mlp_bias),
            "mlp.up_proj": (inner, dim, config.mlp_bias),
            "mlp.down_proj": (dim, inner, config.mlp_bias),
        }
        for name, (out, width, bias) in projections.items():
            shapes[f"{layer}{name}.weight"] = (out, width)
            if bias:
                shapes[f"{layer}{name}.bias"] = (out,)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{layer}{norm}.weight"] = (dim,)
        if config.qk_norm:
            shapes[f"{layer}self_attn.q_norm.weight"] = shapes[f"{layer}self_attn.k_norm.weight"] = (d,)
    shapes["model.norm.weight"] = (dim,)
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, dim)
    return shapes


class FakeCache:
    """A cache of a test, which asks no kernel to read it."""

    length = 0

    def layout(self):
        raise NotImplementedError


def batch_of(spans: list[slice], caches: list) -> RaggedBatch:
    """A batch of which attention asks nothing but spans and caches."""
    rows = np.arange(spans[-1].stop)
    return RaggedBatch(rows, rows, rows, spans, caches)
