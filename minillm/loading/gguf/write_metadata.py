"""The metadata of a GGUF file that describes a config: the inverse of `config.py`.

llama.cpp has code for each architecture, which loads certain optional tensors and no others. So a model that combines
parts as none of its family does is refused by name. Source: llama.cpp's llama-model.cpp.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.config import ModelConfig
from minillm.layers import rope_frequencies
from minillm.loading.stored import part_of

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}  # by model_type
QKV_BIASES = {f"self_attn.{letter}_proj.bias" for letter in "qkv"}
BIASES = QKV_BIASES | {"self_attn.o_proj.bias", *(f"mlp.{name}_proj.bias" for name in ("gate", "up", "down"))}
HEAD_NORMS = {f"self_attn.{letter}_norm.weight" for letter in "qk"}
OPTIONAL = {"llama": BIASES, "qwen2": QKV_BIASES, "qwen3": HEAD_NORMS}  # that the architecture's code loads


def architecture_of(config: ModelConfig) -> str:
    """Return the name of the architecture in GGUF files."""
    return ARCHITECTURES[config.model_type]


def config_metadata(name: str, config: ModelConfig, tensors: Iterable[str]) -> dict[str, Any]:
    """Return the keys that describe a config.

    Args:
        name: the model's, for messages.
        config: of the model.
        tensors: the names of its tensors.

    Raises:
        ValueError: the architecture's code in llama.cpp lacks something that the model has.
    """
    architecture = architecture_of(config)
    _refuse_unsupported(name, config, {part_of(tensor) for tensor in tensors})
    own: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": config.head_dim,
        "rope.freq_base": float(config.rope.rope_theta),
    }
    if config.rope.rope_type == "linear" and config.rope.frequency_factors is None:
        own |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(config.rope.factor)}
    if config.sliding_windows[0]:
        own["attention.sliding_window"] = config.sliding_windows[0]
    return {f"{architecture}.{key}": value for key, value in own.items()}


def rope_factors(config: ModelConfig) -> Array | None:
    """Return what each RoPE frequency is divided by, `[half]`, for scalings that GGUF stores as a tensor; else None."""
    rope = config.rope
    if rope.frequency_factors is None and rope.rope_type != "llama3":
        return None
    plain = replace(rope, rope_type="default", frequency_factors=None)
    factors = rope_frequencies(plain, config.head_dim) / rope_frequencies(rope, config.head_dim)
    return factors.astype(np.float32)


def _refuse_unsupported(name: str, config: ModelConfig, parts: set[str]) -> None:
    architecture, windows = architecture_of(config), set(config.sliding_windows)
    extra = sorted((parts & (BIASES | HEAD_NORMS)) - OPTIONAL[architecture])
    lacks = (
        f"{extra[0]}" if extra
        else "windows that differ between layers" if len(windows) > 1
        else "a sliding window" if windows != {None} and architecture != "llama"
        else "RoPE factors" if rope_factors(config) is not None and architecture != "llama"
        else ""
    )  # fmt: skip
    if lacks:
        raise ValueError(f"{name}: a GGUF file of architecture {architecture!r} cannot have {lacks}")
