"""Write a Checkpoint as a folder in Hugging Face layout: config.json, tokenizer.json, float32 model.safetensors."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from minillm.config import ModelConfig
from minillm.loading.checkpoint import Checkpoint
from minillm.support.progress import Report

SAME = (
    "model_type vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
    "head_dim max_position_embeddings rms_norm_eps tie_word_embeddings attention_bias mlp_bias bos_token_id"
).split()


def save_folder(checkpoint: Checkpoint, folder: Path, report: Report) -> None:
    """Write a Llama checkpoint one tensor at a time, so that it needs little memory."""
    folder.mkdir()
    if checkpoint.tokenizer is not None:
        checkpoint.tokenizer.save(folder)
    (folder / "config.json").write_text(json.dumps(config_fields(checkpoint.config), indent=2))
    with (folder / "model.safetensors").open("wb") as file:
        file.write(_header(checkpoint))
        for done, tensor in enumerate(checkpoint.tensors.values()):
            report("converting", done, len(checkpoint.tensors))
            file.write(np.ascontiguousarray(tensor.read(), "<f4").data)


def _header(checkpoint: Checkpoint) -> bytes:
    """Return the header: its length, then name, shape and offsets of every tensor, padded to align the data."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in checkpoint.tensors.items():
        begin, end = end, end + 4 * int(np.prod(tensor.shape))
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def config_fields(config: ModelConfig) -> dict[str, Any]:
    """Return the config.json of a Llama with default RoPE; biases only as `attention_bias` and `mlp_bias` say."""
    fields: dict[str, Any] = {name: getattr(config, name) for name in SAME}
    fields |= {"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "torch_dtype": "float32"}
    return fields | {"rope_theta": config.rope.rope_theta, "eos_token_id": list(config.eos_token_ids)}
