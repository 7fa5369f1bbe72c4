"""Sharded models: the index may name files of its own folder only, and must be right about what is in them."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_folder import INDEX, assert_refused, weights, write_folder, write_json, write_shards

import minillm
from minillm.loading import open_checkpoint

TOKENS = [3, 1, 4, 1, 5]
NORM = "model.norm.weight"


def test_shards_are_the_same_model_as_one_file(tmp_path):
    write_shards(tmp_path / "shards")
    one, several = (minillm.load(folder) for folder in (write_folder(tmp_path / "one"), tmp_path / "shards"))
    np.testing.assert_array_equal(minillm.forward(one, TOKENS), minillm.forward(several, TOKENS))


@pytest.mark.parametrize(
    "name",
    ["../outside.safetensors", "/tmp/outside.safetensors", "..", ".", "", "sub/model.safetensors", "a\\b.safetensors",
     "C:model.safetensors", "a\0b", "a\nb", "~", "x" * 300, "\ud800"],
)  # fmt: skip
def test_a_path_is_no_file_name(name, tmp_path):
    folder = tmp_path / "model"
    weight_map = write_shards(folder)
    save_file(weights(), tmp_path / "outside.safetensors")
    write_json(folder / INDEX, {"weight_map": weight_map | {NORM: name}})
    assert_refused(folder, r"index\.json: .* is not a file name; expected the name of a file next to it")


@pytest.mark.parametrize(
    "index",
    [[], 3, None, "x", {}, {"weight_map": None}, {"weight_map": [NORM]}, {"weight_map": "model.safetensors"}],
)
def test_an_index_without_a_weight_map_is_refused(index, tmp_path):
    write_shards(tmp_path)
    write_json(tmp_path / INDEX, index)
    assert_refused(tmp_path, r"index\.json: expected an object weight_map")


@pytest.mark.parametrize("file", [None, 3, True, ["model-1-of-2.safetensors"], {"file": "x"}])
def test_a_file_name_is_a_text(file, tmp_path):
    weight_map = write_shards(tmp_path)
    write_json(tmp_path / INDEX, {"weight_map": weight_map | {NORM: file}})
    assert_refused(tmp_path, r"index\.json: .* is not a file name")


@pytest.mark.parametrize("contents", [b"", b"{", b"\xff\xfe", b'{"weight_map": ' + b"[" * 100_000])
def test_a_damaged_index_is_refused(contents, tmp_path):
    write_shards(tmp_path)
    (tmp_path / INDEX).write_bytes(contents)
    assert_refused(tmp_path, r"index\.json: ")


def test_a_missing_shard_is_named(tmp_path):
    write_shards(tmp_path)
    (tmp_path / "model-2-of-2.safetensors").unlink()
    assert_refused(tmp_path, r"model-2-of-2\.safetensors is missing")


def test_a_tensor_listed_in_the_wrong_shard_is_named(tmp_path):
    weight_map = write_shards(tmp_path)
    other = ({*weight_map.values()} - {weight_map[NORM]}).pop()
    write_json(tmp_path / INDEX, {"weight_map": weight_map | {NORM: other}})
    assert_refused(tmp_path, f"tensor {NORM!r} is not in {other}")


def test_a_tensor_that_no_shard_has_is_named(tmp_path):
    weight_map = write_shards(tmp_path)
    write_json(tmp_path / INDEX, {"weight_map": weight_map | {"ghost": weight_map[NORM]}})
    assert_refused(tmp_path, "tensor 'ghost' is not in")


def test_an_unlisted_tensor_is_missing(tmp_path):
    weight_map = write_shards(tmp_path)
    del weight_map[NORM]
    write_json(tmp_path / INDEX, {"weight_map": weight_map})
    assert_refused(tmp_path, f"tensor {NORM} is missing")


def test_symbolic_links_are_followed(tmp_path):
    """The Hugging Face cache is made of links into ../../blobs; unlike an index, a link is its owner's doing."""
    write_shards(tmp_path / "snapshot")
    (tmp_path / "blobs").mkdir()
    for number, file in enumerate(sorted((tmp_path / "snapshot").iterdir())):
        blob = file.rename(tmp_path / "blobs" / str(number))
        file.symlink_to(f"../blobs/{blob.name}")
    assert minillm.load(tmp_path / "snapshot").tokenizer is not None


def test_a_link_to_nowhere_is_a_missing_file(tmp_path):
    write_shards(tmp_path)
    (tmp_path / "model-1-of-2.safetensors").unlink()
    (tmp_path / "model-1-of-2.safetensors").symlink_to("../nowhere")
    assert_refused(tmp_path, r"model-1-of-2\.safetensors is missing")


def test_one_whole_file_is_preferred_to_an_index(tmp_path):
    """As transformers does: an index left over from another save is not looked at."""
    write_folder(tmp_path)
    write_json(tmp_path / INDEX, {"weight_map": {NORM: "ghost.safetensors"}})
    assert NORM in open_checkpoint(tmp_path).tensors
