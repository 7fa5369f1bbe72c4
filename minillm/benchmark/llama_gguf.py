"""The weights of a Llama model as a float32 GGUF file, so that llama.cpp computes with exactly our numbers.

The file has no vocabulary: engines are compared on token ids. `loading/gguf/file.py` reads GGUF files.
"""

from pathlib import Path

import numpy as np

from minillm.arrays import Array
from minillm.config import ModelConfig
from minillm.loading.checkpoint import Checkpoint
from minillm.loading.gguf.file import NAMES
from minillm.support.progress import Report

GGUF_NAMES = {ours: theirs for theirs, ours in NAMES.items()}


def write_llama_gguf(checkpoint: Checkpoint, path: Path, report: Report = lambda step, done, total: None) -> None:
    """Write all tensors, one at a time, so that little memory is needed.

    Raises:
        ValueError: the model has something that llama.cpp's architecture "llama" does not support.
        OSError: the file cannot be written.
    """
    from gguf import GGUFWriter

    config = checkpoint.config
    _check_plain_llama(checkpoint.name, config)
    tensors = {gguf_name(name): (name, tensor) for name, tensor in checkpoint.tensors.items()}
    writer = GGUFWriter(path, "llama")
    _write_metadata(writer, config)
    for name, (_, tensor) in tensors.items():
        writer.add_tensor_info(name, tensor.shape, np.dtype(np.float32), 4 * int(np.prod(tensor.shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for done, (name, tensor) in enumerate(tensors.values()):
        report("writing for llama.cpp", done, len(tensors))
        writer.write_tensor_data(_rows_as_llama_cpp_wants(config, name, np.asarray(tensor.read(), np.float32)))
    writer.close()


def gguf_name(name: str) -> str:
    """Convert a name: `model.layers.3.self_attn.q_proj.weight` to `blk.3.attn_q.weight`."""
    stem, _, kind = name.rpartition(".")
    if not stem.startswith("model.layers."):
        return f"{GGUF_NAMES[stem]}.{kind}"
    number, _, part = stem.removeprefix("model.layers.").partition(".")
    return f"blk.{number}.{GGUF_NAMES[part]}.{kind}"


def permute(rows: Array, heads: int) -> Array:
    """Reorder each head's rows from Hugging Face's order (two halves) to llama.cpp's (pairs next to each other)."""
    head_dim = len(rows) // heads
    return rows.reshape(heads, 2, head_dim // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _rows_as_llama_cpp_wants(config: ModelConfig, name: str, values: Array) -> Array:
    heads = {".q_proj.": config.num_attention_heads, ".k_proj.": config.num_key_value_heads}
    for part, count in heads.items():
        if part in name:
            return np.ascontiguousarray(permute(values, count))
    return np.ascontiguousarray(values)


def _check_plain_llama(name: str, config: ModelConfig) -> None:
    unlike = config.qk_norm or any(config.sliding_windows) or config.rope.rope_type != "default"
    biased = config.attention_bias or config.attention_output_bias or config.mlp_bias
    if unlike or biased or config.rope.frequency_factors is not None:
        raise ValueError(
            f"{name}: only a plain Llama model can be measured against llama.cpp: no biases, no sliding window, "
            "no norms of q and k, no scaled RoPE"
        )


def _write_metadata(writer: "GGUFWriter", config: ModelConfig) -> None:  # type: ignore[name-defined]
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
