"""A tiny model as a GGUF file, written with the `gguf` library, for tests to damage."""

import gguf
import numpy as np
from gguf.quants import quantize

from minillm.loading.gguf.file import NAMES

GGUF_NAMES = {name: short for short, name in NAMES.items()}


def gguf_name(name: str) -> str:
    stem, kind = name.rsplit(".", 1)
    if not stem.startswith("model.layers."):
        return f"{GGUF_NAMES[stem]}.{kind}"
    number, part = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{number}.{GGUF_NAMES[part]}.{kind}"


def as_llama_cpp(rows: np.ndarray, heads: int) -> np.ndarray:
    """Each head's halves (i, i + half) side by side."""
    halves = rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def add_value(writer: gguf.GGUFWriter, name: str, value: object) -> None:
    kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string,
             list: writer.add_array}  # fmt: skip
    kinds[type(value)](name, value)


def write_gguf(path, config: dict, tensors: dict, kind: str = "F32", metadata: dict | None = None,
               more: dict | None = None, blocks: dict | None = None) -> None:  # fmt: skip
    """As llama.cpp's converter writes it; `metadata` is added, or put in the place of what it would write, and `more`
    are tensors under GGUF's names. `blocks` are the type and the rows of bytes of some tensors, as they are written."""
    arch = config["model_type"]
    writer = gguf.GGUFWriter(path, arch)
    own = {
        "vocab_size": config["vocab_size"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "block_count": config["num_hidden_layers"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "context_length": config["max_position_embeddings"],
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
    }
    if "head_dim" in config:
        own |= {"attention.key_length": config["head_dim"], "rope.dimension_count": config["head_dim"]}
    values = {f"{arch}.{name}": value for name, value in own.items()} | (metadata or {})
    for name, value in values.items():
        if value is not None:
            add_value(writer, name, value)
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, values in tensors.items():
        stored = gguf.GGMLQuantizationType[kind if values.ndim == 2 else "F32"]
        data = quantize(values, stored)
        if name in (blocks or {}):
            stored, data = gguf.GGMLQuantizationType[blocks[name][0]], blocks[name][1]
        part = name.split(".")[-2]
        if arch == "llama" and part in heads:
            data = np.ascontiguousarray(as_llama_cpp(data, heads[part]))
        writer.add_tensor(gguf_name(name), data, raw_dtype=stored)
    for name, values in (more or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
