"""Numbers are taken as a file stores them: GGUF's blocks equal the gguf library's values, and halves lose nothing."""

import json
import struct

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tensors import ArrayTensor
from test_gguf import header, tensor
from tiny_folder import CONFIG, weights, write_json
from tiny_gguf import write_gguf

import minillm
from minillm.backends import get_backend
from minillm.loading import open_checkpoint, stored
from minillm.loading.build import build
from minillm.loading.gguf.header import read_header
from minillm.loading.gguf.tensor import FORMATS, GgufTensor, blocks
from minillm.loading.gguf.write import write_gguf as save_gguf
from minillm.loading.model_file import read_rows, state_of
from minillm.loading.stored import format_of
from minillm.parallel.shard import cut, share_of_rank
from minillm.quantization import Bfloat16, Float16, Int4, Int8, Quantized, quantize, stack
from minillm.quantization.bfloat16 import widen

TOKENS = [3, 1, 4, 1, 5]
WIDE = CONFIG | {"hidden_size": 64, "intermediate_size": 64, "vocab_size": 64, "num_hidden_layers": 1}
CLASSES = {"bfloat16": Bfloat16, "float16": Float16, "int8": Int8, "int4": Int4}


def random_blocks(kind: str, out: int, inner: int, random: np.random.Generator) -> np.ndarray:
    """`[out, bytes]` of random bits: scales may be infinite, subnormal, negative, or not numbers."""
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    return random.integers(0, 256, (out, inner // block * size)).astype(np.uint8)


def assert_same_values(found: np.ndarray, rows: np.ndarray, kind: str) -> None:
    """Equal to the gguf library's to the bit. Where a scale is not finite, neither are the values."""
    with np.errstate(all="ignore"):
        expected = dequantize(rows, gguf.GGMLQuantizationType[kind])
    assert found.dtype == np.float32
    assert_same_signs(found, expected, kind)
    if kind == "Q4_0":  # infinity - infinity is not a number, and 0 times infinity is not either
        finite = np.isfinite(expected) & np.isfinite(found)
        assert np.array_equal(found[finite], expected[finite])
        assert not np.isfinite(expected[~np.isfinite(found)]).all() or np.isfinite(found).all()
    else:
        assert np.array_equal(found, expected, equal_nan=True)


def assert_same_signs(found: np.ndarray, expected: np.ndarray, kind: str) -> None:
    """Also of zeros. In Q4_0 the library's -0.0 is 0.0 here: 8 * scale - 8 * scale, where it has 0 * scale."""
    other = (np.signbit(found) != np.signbit(expected)) & ~np.isnan(found) & ~np.isnan(expected)
    assert not other.any() or kind == "Q4_0"
    assert (found[other] == 0).all() and np.signbit(expected[other]).all()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(seed=st.integers(0, 2**32), out=st.integers(1, 5), groups=st.integers(1, 3))
def test_random_blocks_are_the_librarys_values(kind, seed, out, groups):
    rows = random_blocks(kind, out, 32 * groups, np.random.default_rng(seed))
    matrix = blocks(rows, kind, 32 * groups)
    assert type(matrix) is CLASSES[FORMATS[kind]] and matrix.shape == (out, 32 * groups)
    assert_same_values(matrix.dequantize(), rows, kind)


# Bits of float16: the smallest, other subnormal ones, the smallest normal one, 1, and those whose -8 times is infinite.
SCALES = [0, 1, 2, 3, 0x3FF, 0x400, 0x3C00, 0x6FFF, 0x7000, 0x7001, 0x7BFF]


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1"])
@pytest.mark.parametrize("sign", [0, 0x8000])
@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_is_exact(kind, sign, scale):
    rows = random_blocks(kind, 4, 64, np.random.default_rng(scale)).reshape(4, 2, -1)
    rows[..., :2] = np.frombuffer(np.uint16(scale | sign).tobytes(), np.uint8)
    if kind == "Q4_1":
        rows[..., 2:4] = np.frombuffer(np.uint16(scale ^ 0x8000).tobytes(), np.uint8)
    rows = rows.reshape(4, -1)
    found, expected = blocks(rows, kind, 64).dequantize(), dequantize(rows, gguf.GGMLQuantizationType[kind])
    assert np.isfinite(found).all()
    assert np.array_equal(found, expected)
    assert_same_signs(found, expected, kind)


def plausible_blocks(kind: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Random numbers with small random scales, as no quantiser would choose them."""
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    rows = random_blocks(kind, *shape, random).reshape(shape[0], shape[1] // block, size)
    for first in {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q6_K": [208]}[kind]:  # the scale, and the minimum
        small = random.normal(size=rows.shape[:2]) * {"Q8_0": 1e-3, "Q6_K": 1e-4}.get(kind, 1e-2)
        rows[..., first : first + 2] = small.astype("<f2")[..., None].view(np.uint8)
    return rows.reshape(shape[0], -1)


def write_mixed(path, config: dict, kinds: dict) -> dict:
    """A GGUF whose tensors have the types of `kinds` (by the end of the name, else F32). Return its values by name."""
    tensors, random, rows, expected = weights(config), np.random.default_rng(0), {}, {}
    for name, values in tensors.items():
        expected[name] = values
        kind = next((kind for end, kind in kinds.items() if name.endswith(end)), None)
        if kind is not None:
            stored = gguf.GGMLQuantizationType[kind]
            halves = kind in ("F16", "BF16")
            data = gguf.quants.quantize(values, stored) if halves else plausible_blocks(kind, values.shape, random)
            rows[name], expected[name] = (kind, data), dequantize(data, stored)
    write_gguf(path, config, tensors, blocks=rows)
    return expected


BIG = CONFIG | {"hidden_size": 256, "intermediate_size": 64, "vocab_size": 64, "num_hidden_layers": 1,
                "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
MIXED = {
    "q in 4 bits, v in 6": {"q_proj.weight": "Q4_1", "k_proj.weight": "Q4_1", "v_proj.weight": "Q6_K"},
    "q in 4 bits, v in floats": {"q_proj.weight": "Q4_0", "k_proj.weight": "Q8_0", "gate_proj.weight": "BF16"},
    "halves": {"up_proj.weight": "F16", "embed_tokens.weight": "BF16", "down_proj.weight": "F16", "norm.weight": "F16"},
    "head in 8 bits": {"lm_head.weight": "Q8_0", "embed_tokens.weight": "Q4_1", "o_proj.weight": "Q4_0"},
    "one type": dict.fromkeys(["_proj.weight", "embed_tokens.weight", "lm_head.weight"], "Q4_1"),
}


@pytest.mark.parametrize("mixed", MIXED)
@pytest.mark.parametrize("arch", ["llama", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_file_of_mixed_types_is_its_values(mixed, arch, tied, tmp_path):
    """Permuted (llama) and not: the values, and the logits that they give in every format that keeps them."""
    config = BIG | {"model_type": arch, "tie_word_embeddings": tied, "architectures": None}
    expected = write_mixed(tmp_path / "x.gguf", config, MIXED[mixed])
    checkpoint = open_checkpoint(tmp_path / "x.gguf")
    for name, values in expected.items():
        assert np.array_equal(checkpoint.tensors[name].read(), values)
        if values.ndim == 2:
            stored = checkpoint.tensors[name].stored()
            assert np.array_equal(stored.dequantize() if isinstance(stored, Quantized) else stored, values)
    for backend in ("plain", "numpy", "exact"):
        model, whole = (minillm.load(tmp_path / "x.gguf", backend, weights=kept) for kept in ("stored", "float32"))
        found, logits = (minillm.forward(each, TOKENS) for each in (model, whole))
        if backend == "exact":
            assert np.array_equal(found, logits)
        np.testing.assert_allclose(found, logits, rtol=0, atol=1e-4 * np.abs(logits).max())


def test_joined_matrices_keep_their_formats(tmp_path):
    write_mixed(tmp_path / "x.gguf", BIG, MIXED["q in 4 bits, v in 6"])
    qkv = minillm.load(tmp_path / "x.gguf", "plain", weights="stored").layer_weights[0].qkv
    assert [(type(part), part.shape[0]) for part in qkv] == [(Int4, 256), (Int4, 128), (np.ndarray, 128)]
    assert [(type(part), part.shape[0]) for part in stack(qkv)] == [(Int4, 256 + 128), (np.ndarray, 128)]


@pytest.mark.parametrize("weights_", ["int8", "int4", "bfloat16"])
def test_an_explicit_format_keeps_what_is_stored_in_it_and_rounds_the_others(weights_, tmp_path):
    """Q8_0 is not rounded again if int8 is asked for, although int8 would choose other numbers than those here."""
    kinds = {"q_proj.weight": "Q8_0", "k_proj.weight": "Q4_1", "v_proj.weight": "BF16"}
    expected = write_mixed(tmp_path / "x.gguf", BIG, kinds)
    qkv = minillm.load(tmp_path / "x.gguf", "plain", weights=weights_).layer_weights[0].qkv
    kept = {"int8": "q", "int4": "k", "bfloat16": "v"}[weights_]
    for letter, part in zip("qkv", qkv, strict=True):
        values = expected[f"model.layers.0.self_attn.{letter}_proj.weight"]
        same = values if letter == kept else quantize(values, weights_).dequantize()
        assert np.array_equal(part.dequantize(), same)
        assert letter == kept or not np.array_equal(same, values)


@pytest.mark.parametrize("kind", FORMATS)
def test_vectors_of_every_type_are_read(kind, tmp_path):
    """A norm or a bias in F16 is a row of floats."""
    rows = random_blocks("F16" if kind == "F16" else kind, 1, 64, np.random.default_rng(0))
    rows[:, 1::2] &= 0x3F  # no float16 of these bits is infinite
    head = header(1) + tensor([64], gguf.GGMLQuantizationType[kind])
    (tmp_path / "x.gguf").write_bytes(head + b"\0" * (-len(head) % 32) + rows.tobytes())
    (place,) = read_header(tmp_path / "x.gguf").tensors
    found = GgufTensor(tmp_path / "x.gguf", place, 0).read()
    assert found.shape == (64,)
    assert np.array_equal(found, dequantize(rows, gguf.GGMLQuantizationType[kind])[0], equal_nan=True)


def save_halves(folder, kind: str, config: dict = WIDE, seed: int = 0):
    """A folder whose tensors are all bfloat16 (or float16), norms and biases too."""
    tensors = {name: values.astype(np.float32) for name, values in weights(config, seed).items()}
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", config)
    if kind == "F16":
        save_file({name: values.astype(np.float16) for name, values in tensors.items()}, folder / "model.safetensors")
        return folder
    data, entries = b"", {}
    for name, values in tensors.items():
        bits = quantize(values.reshape(1, -1), "bfloat16").bits.astype("<u2").tobytes()
        entries[name] = {"dtype": "BF16", "shape": values.shape, "data_offsets": [len(data), len(data) + len(bits)]}
        data += bits
    head = json.dumps(entries).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    return folder


@pytest.mark.parametrize(
    ("kind", "weights_"), [("BF16", "bfloat16"), ("BF16", "stored"), ("F16", "stored")], ids=lambda value: value
)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_halves_lose_nothing(kind, weights_, tied, dtype, tmp_path):
    """The same values, so the same logits as in float32: to the bit on the exact backend, and on the plain one too,
    since each of these matrices is one tile."""
    config = WIDE | {"tie_word_embeddings": tied, "attention_bias": True}
    save_halves(tmp_path, kind, config)
    for backend in ("exact", "plain", "numpy"):
        kept, whole = (minillm.load(tmp_path, backend, dtype, weights) for weights in (weights_, "float32"))
        found, logits = (minillm.forward(model, TOKENS) for model in (kept, whole))
        assert kept.weights == weights_ and found.dtype == logits.dtype
        if backend != "numpy":
            assert np.array_equal(found, logits)
        np.testing.assert_allclose(found, logits, rtol=0, atol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("name", ["story-draft"])
def test_a_bundled_model_as_stored_loses_nothing(name):
    tokens = minillm.load(name).tokenizer.encode("Once upon a time")
    rows = [minillm.forward(minillm.load(name, "exact", weights=kept), tokens) for kept in ("stored", "float32")]
    assert np.array_equal(*rows)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("weights_", ["bfloat16", "int8", "int4"])
def test_what_cannot_be_quantised_is_one_line_with_its_tensor(bad, weights_, tmp_path):
    tensors = weights(WIDE)
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name][3, 4] = bad
    write_json(tmp_path / "config.json", WIDE)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError) as caught:
        minillm.load(tmp_path, weights=weights_)
    message = str(caught.value)
    assert message.endswith(f": tensor {name}: a weight is infinite or not a number, so it cannot be quantised")
    assert "\n" not in message


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("kind", "format_", "first"), [("Q8_0", "int8", 0), ("Q4_1", "int4", 0), ("Q4_1", "int4", 2), ("Q4_0", "int4", 0)]
)
def test_a_stored_scale_that_is_not_finite_is_one_line_with_its_tensor(kind, format_, first, bad, tmp_path):
    """The scale, or the minimum, of one block; also in the head, which is read a few rows at a time."""
    for name in ("model.layers.0.mlp.up_proj.weight", "lm_head.weight"):
        tensors, random = weights(WIDE), np.random.default_rng(0)
        rows = plausible_blocks(kind, tensors[name].shape, random)
        rows[3, first : first + 2] = np.float16([bad]).view(np.uint8)
        write_gguf(tmp_path / "x.gguf", WIDE, tensors, blocks={name: (kind, rows)})
        said = f": tensor {name}: a scale or a minimum of its blocks is infinite or not a number"
        for kept in ("stored", format_):
            if kept == "int4" and name == "lm_head.weight":  # int8, so its values are rounded
                said = f": tensor {name}: a weight is infinite or not a number, so it cannot be quantised"
            with pytest.raises(ValueError) as caught, np.errstate(invalid="ignore"):
                minillm.load(tmp_path / "x.gguf", "plain", weights=kept)
            assert str(caught.value).endswith(said) and "\n" not in str(caught.value)
            if kept != "stored":
                with pytest.raises(ValueError, match="not a number"), np.errstate(invalid="ignore"):
                    save_gguf(open_checkpoint(tmp_path / "x.gguf"), tmp_path / "y.gguf", kept)
                assert not (tmp_path / "y.gguf").exists()


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_saved_as_gguf_and_loaded_again(seed, tmp_path_factory):
    """int8 of a Q8_0 file is what the library wrote, for every matrix."""
    path = tmp_path_factory.mktemp("gguf") / "x.gguf"
    tensors = weights(WIDE, seed)
    write_gguf(path, WIDE, tensors, "Q8_0")
    kind = gguf.GGMLQuantizationType.Q8_0
    checkpoint, ops = open_checkpoint(path), get_backend("plain")
    model = build(checkpoint, ops, ops.choose_dtype("float32"), "int8")
    found = model.layer_weights[0].down[0].dequantize()
    expected = dequantize(gguf.quants.quantize(tensors["model.layers.0.mlp.down_proj.weight"], kind), kind)
    assert np.array_equal(found, expected)


def test_only_embedding_and_head_of_an_int4_model_are_in_int8():
    """Also a head of its own."""
    wide, narrow = ("model.embed_tokens.weight", "lm_head.weight"), "model.layers.1.mlp.down_proj.weight"
    assert [format_of(name, "int4") for name in (*wide, narrow)] == ["int8", "int8", "int4"]
    assert {format_of(name, weights) for weights in ("bfloat16", "int8") for name in wide} == {"bfloat16", "int8"}


@pytest.mark.parametrize("name", ["lm_head.weight", "model.layers.1.mlp.down_proj.weight"])
@pytest.mark.parametrize("weights_", ["bfloat16", "int8", "int4"])
def test_a_matrix_is_quantised_a_few_rows_at_a_time(weights_, name, monkeypatch):
    """The same numbers, and no more than READ_BYTES are read at once."""
    values = np.random.default_rng(0).normal(size=(11, 32)).astype(np.float32)
    read = []

    class Recorded(ArrayTensor):
        def cut(self, rows, columns):
            read.append((rows.start, rows.stop))
            return super().cut(rows, columns)

    monkeypatch.setattr(stored, "READ_BYTES", 4 * 4 * 32)
    found, whole = stored.in_format(name, Recorded(values), weights_), quantize(values, format_of(name, weights_))
    assert all(np.array_equal(*pair) for pair in zip(found.arrays(), whole.arrays(), strict=True))
    assert read == [(0, 4), (4, 8), (8, 11)]


@pytest.mark.parametrize("kind", ["F32", "Q4_1", "Q5_0"])
@pytest.mark.parametrize("rank", [None, 0, 1])
def test_rows_of_a_gguf_file_that_are_permuted_are_read_by_whole_heads(kind, rank, tmp_path, monkeypatch):
    """Each matrix has the numbers of the whole, on one rank and on two, if a tile is less than a head."""
    monkeypatch.setattr(stored, "READ_BYTES", 3 * 4 * 64)
    config = WIDE | {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8}
    write_gguf(tmp_path / "x.gguf", config, weights(config), kind)
    checkpoint = open_checkpoint(tmp_path / "x.gguf")
    if rank is not None:
        checkpoint = cut(checkpoint, share_of_rank(checkpoint.config, 2, rank, True))
    matrices = {name: matrix for name, matrix in checkpoint.tensors.items() if len(matrix.shape) == 2}
    assert {matrices[f"model.layers.0.self_attn.{q_or_k}_proj.weight"].rows_together for q_or_k in "qk"} == {8}
    for name, matrix in matrices.items():
        found, whole = stored.in_format(name, matrix, "int8"), quantize(matrix.read(), "int8")
        assert all(np.array_equal(*pair) for pair in zip(found.arrays(), whole.arrays(), strict=True)), name


def test_widening_is_exact():
    bits = np.arange(2**16, dtype=np.uint16)
    assert np.array_equal(widen(bits).view(np.uint32) >> 16, bits)


def test_a_file_that_changes_while_rows_are_read(tmp_path):
    path = tmp_path / "numbers"
    path.write_bytes(np.arange(12, dtype="<f4").tobytes())
    with path.open("rb") as file:
        state = state_of(file)
    np.testing.assert_array_equal(read_rows(path, state, "<f4", 4, (3, 2), 16), [[1, 2], [5, 6], [9, 10]])
    path.write_bytes(np.arange(13, dtype="<f4").tobytes())
    with pytest.raises(ValueError, match="numbers: changed while it was read"):
        read_rows(path, state, "<f4", 4, (3, 2), 16)
