"""Read GGUF files, llama.cpp's format, as a Checkpoint with Hugging Face names and shapes.

RoPE rotates pairs of a head's numbers. llama.cpp orders the rows of q and k so that the pairs are neighbours, (0, 1),
(2, 3), ...; in Hugging Face files they are (i, i + half). `unpermute` restores the order of Hugging Face. Only files of
architecture `llama` are permuted. Qwen files are not.

    head_dim 4, rows in the file:       a0 b0 a1 b1     pairs (a0, b0) and (a1, b1)
    after unpermute:                    a0 a1 b0 b1
"""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from minillm.arrays import Array
from minillm.loading.checkpoint import Checkpoint, StoredTensor
from minillm.loading.ends_of_answer import ends_of_answer, known_ends
from minillm.loading.gguf.config import config_fields
from minillm.loading.gguf.header import TensorPlace, read_header
from minillm.loading.gguf.tokenizer import is_texts, tokenizer_from_gguf
from minillm.loading.read_config import read_config
from minillm.loading.safetensors_file import map_file, widen_bfloat16

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
FLOATS = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of a file whose header was checked.

    `unpermute_heads` is the number of heads if the rows are permuted, else 0.
    """

    path: Path
    place: TensorPlace
    unpermute_heads: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape in Hugging Face's order, `[out, in]`. GGUF lists the axes in reverse."""
        return self.place.shape[::-1]

    def read(self) -> Array:
        """Return the values as floats, dequantised if necessary.

        Raises:
            ValueError: the gguf library cannot dequantise this type, or the file has become shorter.
        """
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        place, kind = self.place, GGMLQuantizationType(self.place.kind)
        stored = map_file(self.path, "u1", place.offset, (place.size,))
        if kind.name in FLOATS:
            values = np.asarray(stored).view(FLOATS[kind.name])
        elif kind.name == "BF16":
            values = widen_bfloat16(np.asarray(stored).view("<u2"))
        else:
            try:
                values = dequantize(stored.reshape(math.prod(place.shape[1:]), -1), kind)
            except NotImplementedError:
                expected = "; expected a type that the gguf library can dequantise, such as Q4_0 or Q8_0"
                raise ValueError(f"{self.path.name}: {place.name!r} is of type {kind.name}{expected}") from None
        values = values.reshape(self.shape)
        return unpermute(values, self.unpermute_heads) if self.unpermute_heads else values


def unpermute(rows: Array, heads: int) -> Array:
    """Reorder the rows of each head: from llama.cpp's neighbouring pairs to Hugging Face's halves."""
    head_dim = len(rows) // heads
    return rows.reshape(heads, head_dim // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def read_gguf(path: Path) -> Checkpoint:
    """Return the checkpoint in this file.

    Raises:
        ValueError: the file is damaged, or requires something unsupported.
        OSError: the file cannot be read.
    """
    header = read_header(path)
    places = {place.name: place for place in header.tensors}
    shapes = {name: place.shape for name, place in places.items()}
    config = read_config(config_fields(header.metadata, shapes, path.name), path.name)
    texts = header.metadata.get("tokenizer.ggml.tokens")
    positions = {text: i for i, text in enumerate(texts)} if is_texts(texts) else {}
    ends = ends_of_answer(config.eos_token_ids, known_ends(positions), positions.get, config.vocab_size)
    config = replace(config, eos_token_ids=ends)
    if rope_freqs := places.pop("rope_freqs.weight", None):
        factors = _frequency_factors(GgufTensor(path, rope_freqs, 0), config.head_dim // 2)
        config = replace(config, rope=replace(config.rope, frequency_factors=factors))
    permuted = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    tensors: dict[str, StoredTensor] = {}
    for name, place in places.items():
        heads = permuted.get(module_of(name), 0) if header.metadata["general.architecture"] == "llama" else 0
        if heads and place.shape[-1] != heads * config.head_dim:
            raise ValueError(
                f"{path.name}: tensor {name!r} has {place.shape[-1]} rows; its {heads} heads require "
                f"{heads * config.head_dim}"
            )
        tensors[hugging_face_name(name)] = GgufTensor(path, place, heads)
    return Checkpoint(path.name, config, tensors, tokenizer_from_gguf(header.metadata, config.eos_token_ids, path.name))


def _frequency_factors(tensor: GgufTensor, pairs: int) -> tuple[float, ...]:
    """Return the divisor of each RoPE frequency. This is how a GGUF file stores the RoPE scaling of Llama 3."""
    factors = tuple(float(factor) for factor in tensor.read().ravel()) if math.prod(tensor.shape) == pairs else ()
    if not factors or not all(1e-9 < factor < 1e9 for factor in factors):
        raise ValueError(f"{tensor.path.name}: rope_freqs.weight: expected {pairs} positive factors")
    return factors


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
