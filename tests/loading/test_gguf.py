"""GGUF files: the same model as in safetensors, and damaged anywhere, one line."""

import random
import struct

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file
from tiny_folder import CONFIG, assert_loaded_or_refused, assert_refused, weights, write_json
from tiny_gguf import write_gguf

import minillm
from minillm.loading.gguf.header import MOST_VALUES, read_header
from minillm.loading.gguf.tensor import GgufTensor

TOKENS = [3, 1, 4, 1, 5]
WIDE = CONFIG | {"hidden_size": 64, "intermediate_size": 64, "vocab_size": 64, "num_hidden_layers": 1}
KINDS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]


def assert_same_logits(
    folder, config: dict, kind: str = "F32", metadata: dict | None = None, says: dict | None = None
) -> None:
    """The GGUF's logits are those of the same numbers, as rounded by its type, in safetensors.

    `config` becomes the GGUF's metadata, `metadata` is added to it; `says` is what a config.json has besides `config`.
    """
    tensors = weights(config)
    write_gguf(folder / "model.gguf", config, tensors, kind, metadata)
    stored = gguf.GGMLQuantizationType[kind]
    rounded = {n: dequantize(quantize(w, stored), stored) if w.ndim == 2 else w for n, w in tensors.items()}
    write_json(folder / "config.json", config | (says or {}))
    save_file({n: np.ascontiguousarray(w, np.float32) for n, w in rounded.items()}, folder / "model.safetensors")
    ours, expected = (minillm.load(path, dtype="float64") for path in (folder / "model.gguf", folder))
    expected = minillm.forward(expected, TOKENS)
    np.testing.assert_allclose(minillm.forward(ours, TOKENS), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_number_is_read(kind, tmp_path):
    assert_same_logits(tmp_path, WIDE, kind)


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
    assert_same_logits(tmp_path, MODELS[name])


@pytest.mark.parametrize(
    "kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "IQ2_S", "TQ1_0", "MXFP4"]
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
def test_types_that_the_library_only_reads_are_read_row_by_row(kind, tmp_path):
    """Blocks of random bits."""
    number = gguf.GGMLQuantizationType[kind]
    block, block_bytes = gguf.GGML_QUANT_SIZES[number]
    blocks = np.random.default_rng(0).integers(0, 256, (3, 512 // block * block_bytes)).astype(np.uint8)
    head = header(1) + tensor([512, 3], number)
    (tmp_path / "x.gguf").write_bytes(head + b"\0" * (-len(head) % 32) + blocks.tobytes())
    (place,) = read_header(tmp_path / "x.gguf").tensors
    values = GgufTensor(tmp_path / "x.gguf", place, 0).read()
    np.testing.assert_array_equal(values, dequantize(blocks, number))
    assert values.shape == (3, 512)


def test_double_precision_is_read(tmp_path):
    expected = np.random.default_rng(0).normal(size=(3, 4))
    head = header(1) + tensor([4, 3], gguf.GGMLQuantizationType.F64)
    (tmp_path / "x.gguf").write_bytes(head + b"\0" * (-len(head) % 32) + expected.tobytes())
    (place,) = read_header(tmp_path / "x.gguf").tensors
    np.testing.assert_array_equal(GgufTensor(tmp_path / "x.gguf", place, 0).read(), expected)


@pytest.mark.parametrize("kind", ["I32", "Q8_K"])
def test_a_type_that_nobody_can_dequantise_is_refused_when_it_is_read(kind, tmp_path):
    head = header(1) + tensor([256], gguf.GGMLQuantizationType[kind])
    (tmp_path / "x.gguf").write_bytes(head + b"\0" * 2000)
    (place,) = read_header(tmp_path / "x.gguf").tensors
    with pytest.raises(ValueError, match=rf"^x\.gguf: 't' is of type {kind}; expected a type that the gguf library"):
        GgufTensor(tmp_path / "x.gguf", place, 0).read()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "whole.gguf"
    write_gguf(path, CONFIG, weights())
    return path.read_bytes()


def test_version_2_is_read_as_version_3(whole, tmp_path):
    rows = []
    for version in (2, 3):
        (tmp_path / "x.gguf").write_bytes(whole[:4] + struct.pack("<I", version) + whole[8:])
        rows.append(minillm.forward(minillm.load(tmp_path / "x.gguf"), TOKENS))
    np.testing.assert_array_equal(*rows)


def test_a_file_cut_anywhere_is_refused(whole, tmp_path):
    for length in [*range(0, 64, 4), *random.Random(0).sample(range(len(whole)), 100)]:
        (tmp_path / "x.gguf").write_bytes(whole[:length])
        assert not assert_loaded_or_refused(tmp_path / "x.gguf"), length


@pytest.mark.filterwarnings("ignore")
def test_a_header_with_flipped_bits_loads_or_is_refused(whole, tmp_path):
    chance, end = random.Random(1), whole.index(b"output_norm.weight") + 100
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[chance.randrange(end)] ^= 1 << chance.randrange(8)
        (tmp_path / "x.gguf").write_bytes(damaged)
        assert_loaded_or_refused(tmp_path / "x.gguf")


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
    "too many tensors": (header(tensors=2**60) + ROOM, "in the whole file"),
    "too many entries": (header(entries=2**60) + ROOM, "in the whole file"),
    "a text of 2^60 bytes": (entry(8, struct.pack("<Q", 2**60)) + ROOM, "truncated"),
    "a list of 2^60 numbers": (entry(9, struct.pack("<IQ", 4, 2**60)) + ROOM, "in the whole file"),
    "a list of 2^60 texts": (entry(9, struct.pack("<IQ", 8, 2**60)) + ROOM, "in the whole file"),
    "more than 4 million numbers": (entry(9, struct.pack("<IQ", 0, MOST_VALUES)) + b"\0" * MOST_VALUES, "in the whole"),
    "lists of lists": (entry(9, struct.pack("<IQ", 9, 1)) + ROOM, "expected numbers or strings"),
    "metadata of type 99": (entry(99, ROOM), "metadata type 99 is unknown"),
    "a key that is not UTF-8": (entry(4, ROOM, b"\xff\xfe"), "not UTF-8"),
    "alignment 0": (entry(4, struct.pack("<I", 0), b"general.alignment") + ROOM, "alignment is '0'"),
    "huge alignment": (entry(4, struct.pack("<I", 2**31), b"general.alignment") + ROOM, "alignment is"),
    "alignment as a text": (entry(8, text(b"32"), b"general.alignment") + ROOM, "alignment is '32'"),
    "five axes": (header(1) + tensor([1] * 5) + ROOM, "5 dimensions"),
    "a product beyond 64 bits": (header(1) + tensor([2**32, 2**32]) + ROOM, "has shape"),
    "an unknown type": (header(1) + tensor([4], kind=200) + ROOM, "unknown type 200"),
    "half a block": (header(1) + tensor([8], kind=2) + ROOM, "divisible by 32"),
    "outside the file": (header(1) + tensor([4], offset=2**40) + ROOM, "is outside the file"),
    "twice": (header(2) + tensor([4]) + tensor([4]) + ROOM, "the same name"),
    "overlapping": (header(2) + tensor([16]) + tensor([16], offset=32, name=b"u") + ROOM, "overlap"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_a_header_that_lies_is_refused(case, tmp_path):
    contents, expected = LIES[case]
    (tmp_path / "x.gguf").write_bytes(contents)
    assert_refused(tmp_path / "x.gguf", rf"^x\.gguf: .*{expected}")
