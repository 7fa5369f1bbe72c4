"""What a user calls a model: a mistake is answered with what was probably meant; a model too large, with its size."""

import json
import os
import re
import resource
import struct
import subprocess
import sys

import pytest
from tiny_folder import CONFIG, refused, write_folder, write_json

import minillm
from minillm.support.cache_folder import cache_folder


@pytest.mark.parametrize("name", ["smolm2", "SmolLM2", "smollm-2", "./smollm2"])
def test_a_misspelt_name_is_answered_with_the_right_one(name):
    with pytest.raises(ValueError, match=r"^no model '.*': expected .*; did you mean smollm2\?$"):
        minillm.load(name)


def test_a_name_of_the_hub_is_answered_with_its_prefix():
    with pytest.raises(ValueError, match=r"did you mean hf:HuggingFaceTB/SmolLM2-360M\?$"):
        minillm.load("HuggingFaceTB/SmolLM2-360M")


def test_a_name_like_no_other_is_answered_with_what_there_is():
    with pytest.raises(ValueError, match=r"^no model 'llama': expected story, story-draft, smollm2, .* hf:org/name$"):
        minillm.load("llama")


def test_a_line_break_does_not_reach_the_message(tmp_path):
    folder = write_folder(tmp_path / "two\nlines")
    (folder / "config.json").unlink()
    refused(folder, "expected a name")


def test_a_folder_around_a_gguf_file_names_the_file(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"")
    refused(tmp_path, r"config\.json is missing; .*, or pass the file .*/model\.gguf itself$")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    refused(tmp_path / "model.safetensors", "a single file; expected the folder with config.json, or a .gguf file")


def test_the_ending_of_a_gguf_file_may_be_in_capitals(tmp_path):
    (tmp_path / "x.GGUF").write_bytes(b"")
    refused(tmp_path / "x.GGUF", r"^x\.GGUF: truncated")


CACHES = {
    "its own": ({"MINILLM_CACHE": "/mine", "XDG_CACHE_HOME": "/all", "HOME": "/home/me"}, "/mine"),
    "that of all programs": ({"XDG_CACHE_HOME": "/all", "HOME": "/home/me"}, "/all/minillm"),
    "at home": ({"XDG_CACHE_HOME": "", "HOME": "/home/me"}, "/home/me/.cache/minillm"),
}


@pytest.mark.parametrize("case", CACHES)
def test_where_fetched_models_are_kept(case, monkeypatch):
    environment, expected = CACHES[case]
    monkeypatch.delenv("MINILLM_CACHE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder()) == expected


def write_mostly_hole(folder, dtype: str, vocab: int, dim: int) -> None:
    """A file with a true header and nothing but a hole behind it, which takes no disk."""
    write_json(write_folder(folder) / "config.json", CONFIG | {"vocab_size": vocab, "hidden_size": dim})
    size = vocab * dim * {"F32": 4, "F16": 2}[dtype]
    embedding = {"dtype": dtype, "shape": [vocab, dim], "data_offsets": [0, size]}
    header = json.dumps({"model.embed_tokens.weight": embedding}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)


def test_a_model_larger_than_the_machine_is_refused_before_it_is_read(tmp_path):
    write_mostly_hole(tmp_path, "F32", 2**24, 2**16)
    refused(tmp_path, r"not enough memory for its weights: 4398\.0 GB needed as float32")


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not hold a process to RLIMIT_AS")
def test_memory_that_ends_while_a_model_is_read_is_one_line(tmp_path):
    write_mostly_hole(tmp_path, "F16", 2**20, 2**10)  # 2 GB, 4 GB as float32
    program = "import minillm, sys; minillm.load(sys.argv[1])"
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (4 * 10**9, 4 * 10**9))  # noqa: E731
    child = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True,
                           preexec_fn=limit, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})  # fmt: skip
    assert re.search(r"\nValueError: .*: not enough memory for its weights: 4\.3 GB needed as float32", child.stderr)
    assert "MemoryError" not in child.stderr
