"""GGUF files: the same model as in safetensors, and damaged anywhere, one line."""

import random
import struct

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file
from tiny_folder import CONFIG, loaded_or_refused, refused, weights, write_json

import minillm
from minillm.loading.gguf_file import NAMES

TOKENS = [3, 1, 4, 1, 5]
WIDE = CONFIG | {"hidden_size": 64, "intermediate_size": 64, "vocab_size": 64, "num_hidden_layers": 1}
KINDS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
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


def write_gguf(path, config: dict, tensors: dict, kind: str = "F32", **more: object) -> None:
    arch = config["model_type"]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if "head_dim" in config:
        writer.add_key_length(config["head_dim"])
        writer.add_rope_dimension_count(config["head_dim"])
    for key, value in more.items():
        add = writer.add_string if isinstance(value, str) else writer.add_float32
        add(f"{arch}.rope.{key}".replace("scaling_", "scaling."), value)
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, values in tensors.items():
        part = name.split(".")[-2]
        if arch == "llama" and part in heads:
            values = as_llama_cpp(values, heads[part])
        stored = gguf.GGMLQuantizationType[kind if values.ndim == 2 else "F32"]
        writer.add_tensor(gguf_name(name), quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def same_logits(folder, config: dict, kind: str = "F32", **more: object) -> None:
    """The GGUF's logits are those of the same numbers, as rounded by its type, in safetensors."""
    tensors = weights(config)
    write_gguf(folder / "model.gguf", config, tensors, kind, **more)
    stored = gguf.GGMLQuantizationType[kind]
    rounded = {n: dequantize(quantize(w, stored), stored) if w.ndim == 2 else w for n, w in tensors.items()}
    write_json(folder / "config.json", config)
    save_file({n: np.ascontiguousarray(w, np.float32) for n, w in rounded.items()}, folder / "model.safetensors")
    ours, expected = (minillm.load(path, dtype="float64") for path in (folder / "model.gguf", folder))
    expected = minillm.forward(expected, TOKENS)
    np.testing.assert_allclose(minillm.forward(ours, TOKENS), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_number_is_read(kind, tmp_path):
    same_logits(tmp_path, WIDE, kind)


MODELS = {
    "grouped heads": CONFIG,
    "tied": CONFIG | {"tie_word_embeddings": True},
    "own head_dim": CONFIG | {"head_dim": 6},
    "biases": CONFIG | {"attention_bias": True, "mlp_bias": True},
    "qwen2": CONFIG | {"model_type": "qwen2", "architectures": None},
    "qwen3": CONFIG | {"model_type": "qwen3", "architectures": None, "head_dim": 6},
}


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_is_read(name, tmp_path):
    same_logits(tmp_path, MODELS[name])


def test_linear_rope_scaling_is_read(tmp_path):
    config = CONFIG | {"rope_theta": 500.0, "rope_scaling": {"rope_type": "linear", "factor": 4.0}}
    same_logits(tmp_path, config, freq_base=500.0, scaling_type="linear", scaling_factor=4.0)


def test_other_rope_scaling_is_refused_by_name(tmp_path):
    write_gguf(tmp_path / "x.gguf", CONFIG, weights(), scaling_type="yarn", scaling_factor=4.0)
    refused(tmp_path / "x.gguf", r"^x\.gguf: rope_scaling: rope_type is 'yarn'")


@pytest.mark.parametrize("arch", ["gemma2", "phi3", "gpt2", "llama4"])
def test_an_unknown_architecture_is_refused_by_name(arch, tmp_path):
    write_gguf(tmp_path / "x.gguf", CONFIG | {"model_type": arch}, weights())
    refused(tmp_path / "x.gguf", rf"^x\.gguf: model_type is '{arch}'")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "whole.gguf"
    write_gguf(path, CONFIG, weights())
    return path.read_bytes()


def test_a_file_cut_anywhere_is_refused(whole, tmp_path):
    for length in [*range(0, 64), *random.Random(0).sample(range(len(whole)), 120)]:
        (tmp_path / "x.gguf").write_bytes(whole[:length])
        assert not loaded_or_refused(tmp_path / "x.gguf"), length


@pytest.mark.filterwarnings("ignore")
def test_a_header_with_flipped_bits_loads_or_is_refused(whole, tmp_path):
    chance, end = random.Random(1), whole.index(b"output_norm.weight") + 100
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[chance.randrange(end)] ^= 1 << chance.randrange(8)
        (tmp_path / "x.gguf").write_bytes(damaged)
        loaded_or_refused(tmp_path / "x.gguf")


def header(tensors: int = 0, entries: int = 0, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, entries)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def entry(kind: int, value: bytes, key: bytes = b"k") -> bytes:
    return header(entries=1) + text(key) + struct.pack("<I", kind) + value


def tensor(shape: list[int], kind: int = 0, offset: int = 0, name: bytes = b"t") -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


ROOM = b"\0" * 256
LIES = {
    "not a GGUF": (header(magic=b"GGML") + ROOM, "does not begin with GGUF"),
    "version 1": (header(version=1) + ROOM, "version 1; expected 2 or 3"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + ROOM, "GGUF version"),
    "too many tensors": (header(tensors=2**60) + ROOM, "more than its bytes can hold"),
    "too many entries": (header(entries=2**60) + ROOM, "more than its bytes can hold"),
    "a text of 2^60 bytes": (entry(8, struct.pack("<Q", 2**60)) + ROOM, "cut short"),
    "an array of 2^60 numbers": (entry(9, struct.pack("<IQ", 4, 2**60)) + ROOM, "cut short"),
    "an array of 2^60 texts": (entry(9, struct.pack("<IQ", 8, 2**60)) + ROOM, "not possible"),
    "arrays of arrays": (entry(9, struct.pack("<IQ", 9, 1)) + ROOM, "not possible"),
    "metadata of type 99": (entry(99, ROOM), "metadata type 99 is unknown"),
    "a key that is not UTF-8": (entry(4, ROOM, b"\xff\xfe"), "not UTF-8"),
    "alignment 0": (entry(4, struct.pack("<I", 0), b"general.alignment") + ROOM, "alignment is 0"),
    "huge alignment": (entry(4, struct.pack("<I", 2**31), b"general.alignment") + ROOM, "alignment is"),
    "alignment as a text": (entry(8, text(b"32"), b"general.alignment") + ROOM, "expected a uint32"),
    "five axes": (header(1) + tensor([1] * 5) + ROOM, "5 dimensions"),
    "a product beyond 64 bits": (header(1) + tensor([2**32, 2**32]) + ROOM, "has shape"),
    "an unknown type": (header(1) + tensor([4], kind=200) + ROOM, "unknown type 200"),
    "half a block": (header(1) + tensor([8], kind=2) + ROOM, "multiple of 32"),
    "outside the file": (header(1) + tensor([4], offset=2**40) + ROOM, "lies outside the file"),
    "twice": (header(2) + tensor([4]) + tensor([4]) + ROOM, "there twice"),
    "overlapping": (header(2) + tensor([16]) + tensor([16], offset=32, name=b"u") + ROOM, "overlap"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_a_header_that_lies_is_refused(case, tmp_path):
    contents, expected = LIES[case]
    (tmp_path / "x.gguf").write_bytes(contents)
    refused(tmp_path / "x.gguf", rf"^x\.gguf: .*{expected}")
