"""Tiny random models in which every part of the architecture changes the result, and their weights for the reference.

Norms are not 1, biases are not 0, and `rms_norm_eps` is large. So a part that is left out, or put in another order,
shows in the logits.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from minillm.arrays import Array
from minillm.backends import get_backend
from minillm.config import ModelConfig, RopeParameters
from minillm.loading.build import build, weights_by_name
from minillm.loading.checkpoint import Checkpoint
from minillm.model import Model

PLAIN = ModelConfig(
    model_type="llama", vocab_size=11, hidden_size=12, intermediate_size=10, num_hidden_layers=1,
    num_attention_heads=2, num_key_value_heads=1, head_dim=4, max_position_embeddings=160, rms_norm_eps=1e-2,
    tie_word_embeddings=True, rope=RopeParameters(10_000.0), attention_bias=False, attention_output_bias=False,
    mlp_bias=False, qk_norm=False, sliding_windows=(None,), bos_token_id=None, eos_token_ids=(0, 3),
)  # fmt: skip
CONFIGS = {
    "a plain model": PLAIN,
    "a model with 2 groups of 3 query heads": replace(PLAIN, num_attention_heads=6, num_key_value_heads=2),
    "a model with a sliding window of 3": replace(PLAIN, sliding_windows=(3,)),
    "a model that normalises queries and keys": replace(PLAIN, qk_norm=True),
    "a model of 2 layers with biases and a head of its own": replace(
        PLAIN, num_hidden_layers=2, sliding_windows=(None, None), tie_word_embeddings=False, attention_bias=True,
        attention_output_bias=True, mlp_bias=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ArrayTensor:
    """A tensor of a checkpoint that is in memory."""

    values: Array
    format, rows_together = "float32", 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the lengths of the axes."""
        return self.values.shape

    def read(self) -> Array:
        """Return the values."""
        return self.values

    def stored(self) -> Array:
        """Return the values."""
        return self.values

    def cut(self, rows: range, columns: range) -> "ArrayTensor":
        """Return a part of a matrix."""
        return ArrayTensor(self.values[rows.start : rows.stop, columns.start : columns.stop])


@cache
def tiny_checkpoint(config: ModelConfig) -> Checkpoint:
    """Return a checkpoint with random weights; the same ones in every run."""
    random = np.random.default_rng(0)
    tensors = {name: ArrayTensor(_values(shape, name, random)) for name, shape in _shapes(config).items()}
    return Checkpoint("tiny", config, tensors, None)


@cache
def tiny_model(config: ModelConfig) -> Model:
    """Return the model of `tiny_checkpoint` on the plain backend, in float64."""
    return build(tiny_checkpoint(config), get_backend("plain"), np.dtype(np.float64))


@cache
def tiny_weights(config: ModelConfig) -> dict[str, Array]:
    """Return its weights by their Hugging Face names, as `reference.forward` takes them."""
    return dict(weights_by_name(tiny_checkpoint(config)))


def _values(shape: tuple[int, ...], name: str, random: np.random.Generator) -> Array:
    values = random.normal(size=shape)
    if len(shape) == 2:
        return values * 1.5 / np.sqrt(shape[1])
    return 1 + 0.5 * values if "norm" in name else values


def _shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    dim, inner, d = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, dim)}
    for number in range(config.num_hidden_layers):
        layer = f"model.layers.{number}."
        for name, out, width, bias in (
            ("self_attn.q_proj", q, dim, config.attention_bias), ("self_attn.k_proj", kv, dim, config.attention_bias),
            ("self_attn.v_proj", kv, dim, config.attention_bias),
            ("self_attn.o_proj", dim, q, config.attention_output_bias), ("mlp.gate_proj", inner, dim, config.mlp_bias),
            ("mlp.up_proj", inner, dim, config.mlp_bias), ("mlp.down_proj", dim, inner, config.mlp_bias),
        ):  # fmt: skip
            shapes[f"{layer}{name}.weight"] = (out, width)
            shapes |= {f"{layer}{name}.bias": (out,)} if bias else {}
        shapes |= {f"{layer}{name}.weight": (dim,) for name in ("input_layernorm", "post_attention_layernorm")}
        norms = ("q_norm", "k_norm") if config.qk_norm else ()
        shapes |= {f"{layer}self_attn.{name}.weight": (d,) for name in norms}
    shapes["model.norm.weight"] = (dim,)
    return shapes | ({} if config.tie_word_embeddings else {"lm_head.weight": (config.vocab_size, dim)})
