"""Read GGUF files, llama.cpp's format, as a Checkpoint with Hugging Face names and shapes."""

import math
import re
from dataclasses import replace
from pathlib import Path

from minillm.config import ModelConfig
from minillm.loading.checkpoint import Checkpoint, StoredTensor
from minillm.loading.ends_of_answer import ends_of_answer, known_ends
from minillm.loading.gguf.config import config_fields
from minillm.loading.gguf.header import GgufHeader, check_places, read_header
from minillm.loading.gguf.tensor import GgufTensor
from minillm.loading.gguf.tokenizer import is_texts, tokenizer_from_gguf
from minillm.loading.read_config import read_config
from minillm.loading.settle import settle
from minillm.support.wording import counted

NAME = r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)"
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
ROPE_FACTORS = "rope_freqs.weight"


def read_gguf(path: Path) -> Checkpoint:
    """Return the checkpoint in this file.

    Raises:
        ValueError: the file is damaged, or requires something unsupported.
        OSError: the file cannot be read.
    """
    header = read_header(path)
    check_places(header, path)
    config = _config(header, path)
    if rope_freqs := next((place for place in header.tensors if place.name == ROPE_FACTORS), None):
        factors = _frequency_factors(GgufTensor(path, rope_freqs, 0), config.head_dim // 2, config.rope.factor)
        config = replace(config, rope=replace(config.rope, frequency_factors=factors))
    config, tensors = settle(config, _tensors(header, path, config), "")
    return Checkpoint(path.name, config, tensors, tokenizer_from_gguf(header.metadata, config.eos_token_ids, path.name))


def read_gguf_config(path: Path) -> ModelConfig:
    """Return the config alone; the file's data may be damaged or missing.

    Raises:
        ValueError: the header is damaged, or requires something unsupported.
        OSError: the file cannot be read.
    """
    header = read_header(path)
    config = _config(header, path)
    return settle(config, _tensors(header, path, config), "")[0]


def _config(header: GgufHeader, path: Path) -> ModelConfig:
    shapes = {place.name: place.shape for place in header.tensors}
    config = read_config(config_fields(header.metadata, shapes, path.name), path.name)
    texts = header.metadata.get("tokenizer.ggml.tokens")
    positions = {text: i for i, text in enumerate(texts)} if is_texts(texts) else {}
    ends = ends_of_answer(config.eos_token_ids, known_ends(positions), positions.get, config.vocab_size)
    return replace(config, eos_token_ids=ends)


def _tensors(header: GgufHeader, path: Path, config: ModelConfig) -> dict[str, StoredTensor]:
    """Return all tensors but RoPE's factors, by their Hugging Face names."""
    permuted = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    tensors: dict[str, StoredTensor] = {}
    for place in header.tensors:
        heads = permuted.get(module_of(place.name), 0) if header.metadata["general.architecture"] == "llama" else 0
        if heads and place.shape[-1] != heads * config.head_dim:
            raise ValueError(
                f"{path.name}: tensor {place.name!r} has {counted(place.shape[-1], 'row')}; its heads require "
                f"{heads * config.head_dim}"
            )
        if place.name != ROPE_FACTORS:
            tensors[hugging_face_name(place.name)] = GgufTensor(path.absolute(), place, heads)
    return tensors


def _frequency_factors(tensor: GgufTensor, pairs: int, linear: float) -> tuple[float, ...]:
    """Return the divisor of each RoPE frequency: what is stored, times the linear factor, which is mostly 1.

    This is how a GGUF file stores the RoPE scaling of Llama 3.
    """
    factors = tuple(float(factor) for factor in tensor.read().ravel()) if math.prod(tensor.shape) == pairs else ()
    if not factors or not all(1e-9 < factor < 1e9 for factor in factors):
        raise ValueError(f"{tensor.path.name}: rope_freqs.weight: expected {pairs} positive factors")
    return tuple(linear * factor for factor in factors)


def module_of(name: str) -> str:
    """Return `attn_q` for `blk.3.attn_q.weight`, and "" for a name of a different form."""
    found = re.fullmatch(NAME, name)
    return found[2] if found else ""


def hugging_face_name(name: str) -> str:
    """Return `model.layers.3.self_attn.q_proj.weight` for `blk.3.attn_q.weight`. Unknown names are unchanged."""
    found = re.fullmatch(NAME, name)
    if not found or found[2] not in NAMES:
        return name
    layer = f"model.layers.{found[1]}." if found[1] is not None else ""
    return f"{layer}{NAMES[found[2]]}.{found[3]}"
