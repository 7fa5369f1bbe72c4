"""Safetensors files: values are read exactly, and a header that lies is refused in one line, before it costs much."""

import json
import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save, save_file
from tiny_folder import assert_loaded_or_refused, assert_refused, weights, write_folder

import minillm
from minillm.loading.safetensors_file import read_safetensors


def raw(header: object, data: bytes = b"") -> bytes:
    """A file with this header, true or not; bytes are taken as they are."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


DATA = b"\0" * 8
LIES = {
    "empty file": (b"", "truncated"),
    "seven bytes": (b"\1\0\0\0\0\0\0", "truncated"),
    "no header": (struct.pack("<Q", 0), "not valid JSON"),
    "length past the end": (struct.pack("<Q", 1000) + b"{}", "truncated"),
    "length that would be negative": (struct.pack("<q", -1) + b"{}", "truncated"),
    "length of all memory": (struct.pack("<Q", 2**62) + b"{}", "truncated"),
    "not JSON": (raw(b"{dtype:"), "not valid JSON"),
    "not UTF-8": (raw(b'{"\xff": 1}'), "expected text in UTF-8"),
    "a pickle": (b"\x80\x04\x95" + DATA + b"cos\nsystem\n(S'echo hacked'\ntR.", "truncated"),
    "a list": (raw([1, 2]), "the header is not a JSON object"),
    "a number": (raw(3), "the header is not a JSON object"),
    "null": (raw(None), "the header is not a JSON object"),
    "nested deep": (raw(b"[" * 100_000), "nested too deeply"),
    "duplicated name": (raw(b'{"a": %b, "a": %b}' % ((json.dumps(entry()).encode(),) * 2), DATA), "duplicate key"),
    "number of 5000 digits": (raw(b'{"a": ' + b"9" * 5000 + b"}"), "not valid JSON"),
    "entry is null": (raw({"a": None}), "'a': expected dtype, shape and data_offsets"),
    "entry is empty": (raw({"a": {}}), "'a': dtype"),
    "dtype unknown": (raw({"a": entry("F31")}, DATA), "'a': dtype is 'F31'; expected one of F64"),
    "dtype is a number": (raw({"a": entry(4)}, DATA), "'a': dtype is 4"),
    "dtype is a list": (raw({"a": entry(["F32"])}, DATA), "'a': dtype"),
    "shape missing": (raw({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, DATA), "'a': shape is None"),
    "shape is a text": (raw({"a": entry(shape="2")}, DATA), "'a': shape is '2'; expected a list of at most 8 integers"),
    "shape is a number": (raw({"a": entry(shape=2)}, DATA), "'a': shape"),
    "shape of fractions": (raw({"a": entry(shape=[2.0])}, DATA), "'a': shape"),
    "shape of booleans": (raw({"a": entry(shape=[True])}, DATA), "'a': shape"),
    "shape of texts": (raw({"a": entry(shape=["2"])}, DATA), "'a': shape"),
    "shape below zero": (raw({"a": entry(shape=[-1, -2])}, DATA), "'a': shape"),
    "shape beyond 64 bits": (raw({"a": entry(shape=[2**64 + 2])}, DATA), "'a': shape"),
    "product beyond 64 bits": (raw({"a": entry(shape=[2**33, 2**31 + 1])}, DATA), "'a': has 8 bytes"),
    "nine axes": (raw({"a": entry(shape=[1] * 8 + [2])}, DATA), "'a': shape"),
    "offsets missing": (raw({"a": {"dtype": "F32", "shape": [2]}}, DATA), "'a': data_offsets is None"),
    "one offset": (raw({"a": entry(offsets=[0])}, DATA), "'a': data_offsets"),
    "three offsets": (raw({"a": entry(offsets=[0, 4, 8])}, DATA), "'a': data_offsets"),
    "offsets reversed": (raw({"a": entry(offsets=[8, 0])}, DATA), "'a': has -8 bytes"),
    "offset below zero": (raw({"a": entry(offsets=[-8, 0])}, DATA), "'a': data_offsets"),
    "offsets are texts": (raw({"a": entry(offsets=["0", "8"])}, DATA), "'a': data_offsets"),
    "too few bytes for the shape": (raw({"a": entry(offsets=[0, 4])}, DATA), "'a': has 4 bytes.*requires 8"),
    "out of the file": (raw({"a": entry(offsets=[8, 16])}, DATA), "'a': ends 8 bytes after the file's end"),
    "one byte short": (raw({"a": entry()}, DATA[1:]), "'a': ends 1 bytes after the file's end"),
    "far out of the file": (raw({"a": entry(shape=[2**40], offsets=[0, 2**42])}, DATA), "'a': ends"),
    "overlapping": (raw({"a": entry(), "b": entry(offsets=[4, 12])}, DATA + DATA), "'b' begins at"),
    "the same bytes twice": (raw({"a": entry(), "b": entry()}, DATA), "begins at"),
    "a gap": (raw({"a": entry(), "b": entry(offsets=[12, 20])}, DATA * 3), "'b' begins at"),
    "bytes of no tensor": (raw({"a": entry()}, DATA + b"\0"), "1 bytes belong to no tensor"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_a_header_that_lies_is_refused(case, tmp_path):
    contents, expected = LIES[case]
    folder = write_folder(tmp_path)
    (folder / "model.safetensors").write_bytes(contents)
    with pytest.raises(ValueError, match=rf"^model\.safetensors: .*{expected}") as caught:
        read_safetensors(folder / "model.safetensors")
    assert "\n" not in str(caught.value)
    assert_refused(folder, expected)


def test_eight_axes_are_not_too_many(tmp_path):
    (tmp_path / "x").write_bytes(raw({"a": entry(shape=[1] * 7 + [2])}, DATA))
    assert read_safetensors(tmp_path / "x")["a"].read().shape == (1,) * 7 + (2,)


@pytest.mark.parametrize("place", ['{"a": %s}', '{"a": {"dtype": %s}}', '{"a": {"dtype": "F32", "shape": %s}}'])
def test_values_nested_to_any_depth_are_refused(place, tmp_path):
    """Some depths can be parsed but not printed."""
    for depth in range(800, 1010):
        (tmp_path / "x").write_bytes(raw((place % ("[" * depth + "]" * depth)).encode()))
        with pytest.raises(ValueError, match=r"^x: "):
            read_safetensors(tmp_path / "x")


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: None], ids=["a directory", "missing"])
def test_what_is_no_file_is_an_os_error(make, tmp_path):
    folder = write_folder(tmp_path)
    (folder / "model.safetensors").unlink()
    make(folder / "model.safetensors")
    with pytest.raises(OSError):
        read_safetensors(folder / "model.safetensors")
    assert_refused(folder, r"model\.safetensors is missing")


@given(arrays(np.float32, st.tuples(st.integers(0, 3), st.integers(1, 3))) | arrays(np.float32, ()))
def test_float32_is_read_to_the_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("values") / "x"
    save_file({"a": values}, path)
    assert read_safetensors(path)["a"].shape == values.shape
    assert read_safetensors(path)["a"].read().tobytes() == values.tobytes()


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F64"])
def test_other_floats_are_read_exactly(dtype, tmp_path):
    """All 65,536 half-precision bit patterns, infinities and NaN among them."""
    bits = np.arange(2**16, dtype=np.uint16)
    halves = {"F16": bits.view(np.float16), "BF16": (bits.astype(np.uint32) << 16).view(np.float32)}
    values = halves.get(dtype, np.array([np.pi, -5e-324, 1.7e308, -0.0, np.inf, np.nan]))
    stored = bits if dtype == "BF16" else values
    header = {"a": entry(dtype, [len(values)], [0, stored.nbytes])}
    (tmp_path / "x").write_bytes(raw(header, stored.tobytes()))
    np.testing.assert_array_equal(read_safetensors(tmp_path / "x")["a"].read(), values)


@pytest.mark.parametrize("dtype", ["I32", "BOOL", "F8_E4M3"])
def test_a_tensor_without_floats_is_refused_when_it_is_read(dtype, tmp_path):
    (tmp_path / "x").write_bytes(raw({"a": entry(dtype, [8 if dtype != "I32" else 2])}, DATA))
    with pytest.raises(ValueError, match=f"^x: tensor 'a' is of type {dtype}; expected F64, F32"):
        read_safetensors(tmp_path / "x")["a"].read()


def test_metadata_and_any_order_are_fine(tmp_path):
    header = {
        "b": entry(offsets=[8, 16]),
        "__metadata__": {"format": "pt"},
        "a": entry(),
        "none": entry("F32", [0], [8, 8]),
    }
    (tmp_path / "x").write_bytes(raw(header, np.arange(4, dtype=np.float32).tobytes()))
    read = {name: tensor.read().tolist() for name, tensor in read_safetensors(tmp_path / "x").items()}
    assert read == {"a": [0, 1], "b": [2, 3], "none": []}


def test_a_file_cut_anywhere_is_refused(tmp_path):
    folder = write_folder(tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    for length in random.Random(0).sample(range(len(whole)), 150):
        (folder / "model.safetensors").write_bytes(whole[:length])
        assert not assert_loaded_or_refused(folder), f"loaded from {length} of {len(whole)} bytes"


@pytest.mark.filterwarnings("ignore:.*tensors? (is|are) not used")
def test_a_header_with_flipped_bits_loads_or_is_refused(tmp_path):
    folder, chance = write_folder(tmp_path), random.Random(1)
    whole = (folder / "model.safetensors").read_bytes()
    header = 8 + struct.unpack_from("<Q", whole)[0]
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[chance.randrange(header)] ^= 1 << chance.randrange(8)
        (folder / "model.safetensors").write_bytes(damaged)
        outcomes.add(assert_loaded_or_refused(folder))
    assert False in outcomes


SHAPE = {"transposed": lambda w: w.T, "flat": lambda w: w.ravel(), "a row short": lambda w: w[1:]}


@pytest.mark.parametrize("change", SHAPE)
def test_a_shape_that_the_config_does_not_say_is_refused(change, tmp_path):
    folder, tensors = write_folder(tmp_path), weights()
    name = "model.layers.1.mlp.down_proj.weight"
    tensors[name] = np.ascontiguousarray(SHAPE[change](tensors[name]))
    save_file(tensors, folder / "model.safetensors")
    assert_refused(folder, rf"tensor {name} has shape \[.*the config requires \[8, 12\]")


def test_a_missing_tensor_is_named(tmp_path):
    folder, tensors = write_folder(tmp_path), weights()
    del tensors["model.norm.weight"]
    (folder / "model.safetensors").write_bytes(save(tensors))
    assert_refused(folder, r"tensor model\.norm\.weight is missing")


def test_pickles_are_never_opened(tmp_path):
    """Opening this one would create a file."""
    folder, trace = write_folder(tmp_path), tmp_path / "trace"
    bomb = b"cpathlib\nPath\n(S'%b'\ntRp0\nctyping\ncast\n." % str(trace).encode()
    for name in ("pytorch_model.bin", "model.pt", "training_args.bin"):
        (folder / name).write_bytes(bomb)
    minillm.load(folder)
    (folder / "model.safetensors").unlink()
    assert_refused(folder, "pickles such as .* are never opened")
    (folder / "model.safetensors").write_bytes(bomb)
    assert_refused(folder, "truncated, or not a safetensors file")
    assert not trace.exists()
