"""GGUF files: llama.cpp's format, read as a Checkpoint with Hugging Face names and shapes.

llama.cpp lays out the rows of q and k so that RoPE turns neighbours (0, 1), (2, 3), ...; Hugging Face turns
(i, i + half). `unpermute` puts the rows back. Only architecture `llama` is stored so; Qwen keeps its order.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.loading.checkpoint import Checkpoint, StoredTensor
from minillm.loading.gguf_check import check_gguf
from minillm.loading.read_config import read_config
from minillm.loading.safetensors_file import widen_bfloat16

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NOT_QUANTISED = {"F32", "F16", "F64"}


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of a checked file; `unpermute_heads` is the number of heads whose rows to put back, or 0."""

    where: str
    tensor: Any
    shape: tuple[int, ...]
    unpermute_heads: int

    def read(self) -> Array:
        """The values as floats, dequantised.

        Raises:
            ValueError: a type that the gguf library cannot dequantise.
        """
        from gguf.quants import dequantize

        kind = self.tensor.tensor_type
        if kind.name in NOT_QUANTISED:
            values = np.asarray(self.tensor.data).reshape(self.shape)
        elif kind.name == "BF16":
            values = widen_bfloat16(np.asarray(self.tensor.data).view(np.uint16)).reshape(self.shape)
        else:
            try:
                values = dequantize(self.tensor.data, kind).reshape(self.shape)
            except NotImplementedError:
                raise ValueError(f"{self.where}: type {kind.name} cannot be dequantised") from None
        return unpermute(values, self.unpermute_heads) if self.unpermute_heads else values


def unpermute(rows: Array, heads: int) -> Array:
    """Rows of each head from llama.cpp's order (pairs side by side) to Hugging Face's (halves)."""
    head_dim = len(rows) // heads
    return rows.reshape(heads, head_dim // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def read_gguf(path: Path) -> Checkpoint:
    """The checkpoint in this file.

    Raises:
        ValueError: the file is damaged, or asks for something unsupported.
        OSError: it cannot be read.
    """
    from gguf import GGUFReader

    check_gguf(path)
    reader = GGUFReader(path)
    metadata = {name: entry.contents() for name, entry in reader.fields.items()}
    names = {tensor.name for tensor in reader.tensors}
    architecture = metadata.get("general.architecture")
    config = read_config(config_fields(metadata, architecture, names), path.name)
    tensors: dict[str, StoredTensor] = {}
    for tensor in reader.tensors:
        if tensor.name == "rope_freqs.weight":
            factors = tuple(float(f) for f in tensor.data)
            if len(factors) != config.head_dim // 2 or not all(0 < f < 1e9 for f in factors):
                raise ValueError(f"{path.name}: rope_freqs.weight: expected {config.head_dim // 2} positive factors")
            config = replace(config, rope=replace(config.rope, frequency_factors=factors))
            continue
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
        part = tensor.name.split(".")[-2] if "." in tensor.name else ""
        permuted = heads.get(part, 0) if architecture == "llama" else 0
        shape = tuple(int(n) for n in reversed(tensor.shape))
        if permuted and shape[0] != permuted * config.head_dim:
            raise ValueError(
                f"{path.name}: tensor {tensor.name} has {shape[0]} rows; the heads need {permuted * config.head_dim}"
            )
        tensors[hugging_face_name(tensor.name)] = GgufTensor(f"{path.name}: {tensor.name}", tensor, shape, permuted)
    return Checkpoint(path.name, config, tensors, _tokenizer(metadata, config.eos_token_ids))


def hugging_face_name(name: str) -> str:
    """`blk.3.attn_q.weight` as `model.layers.3.self_attn.q_proj.weight`; unknown names stay."""
    found = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", name)
    if not found or found[2] not in NAMES:
        return name
    layer = f"model.layers.{found[1]}." if found[1] is not None else ""
    return f"{layer}{NAMES[found[2]]}.{found[3]}"


def config_fields(metadata: dict[str, Any], architecture: Any, tensors: set[str]) -> dict[str, Any]:
    """The metadata as the fields of a config.json."""

    def get(name: str, default: Any = None) -> Any:
        return metadata.get(f"{architecture}.{name}", default)

    if get("expert_count"):
        raise ValueError(f"{architecture}.expert_count is {get('expert_count')}; mixtures of experts are not supported")
    tokens = metadata.get("tokenizer.ggml.tokens")
    fields = {
        "model_type": architecture,
        "vocab_size": get("vocab_size", len(tokens) if isinstance(tokens, list) else None),
        "hidden_size": get("embedding_length"),
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": get("attention.head_count"),
        "num_key_value_heads": get("attention.head_count_kv", get("attention.head_count")),
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": get("attention.layer_norm_rms_epsilon"),
        "tie_word_embeddings": "output.weight" not in tensors,
        "rope_theta": get("rope.freq_base", 10_000.0),
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
    }
    fields["head_dim"] = get("attention.key_length", get("rope.dimension_count"))
    if get("rope.dimension_count", fields["head_dim"]) != fields["head_dim"]:
        raise ValueError(f"{architecture}.rope.dimension_count: expected the whole head, {short(fields['head_dim'])}")
    ends = [metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    fields["eos_token_id"] = [end for end in ends if end is not None]
    scaling = get("rope.scaling.type", "none")
    if scaling != "none":
        fields["rope_scaling"] = {"rope_type": scaling, "factor": get("rope.scaling.factor")}
    if architecture == "llama":
        fields["attention_bias"] = "blk.0.attn_q.bias" in tensors
        fields["mlp_bias"] = "blk.0.ffn_gate.bias" in tensors
    if architecture == "mistral":
        fields["sliding_window"] = get("attention.sliding_window")
    elif get("attention.sliding_window"):
        raise ValueError(f"{architecture}.attention.sliding_window is not supported in this architecture")
    may_be_null = {"sliding_window", "bos_token_id", "eos_token_id"}  # where null means none, and not the default
    return {name: value for name, value in fields.items() if value is not None or name in may_be_null}


def _tokenizer(metadata: dict[str, Any], eos_ids: tuple[int, ...]) -> Any:
    if metadata.get("tokenizer.ggml.model", "no_vocab") == "no_vocab":
        return None
    from minillm.loading.gguf_tokenizer import tokenizer_from_gguf

    return tokenizer_from_gguf({name: v for name, v in metadata.items() if name.startswith("tokenizer.")}, eos_ids)
