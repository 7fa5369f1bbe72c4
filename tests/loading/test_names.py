"""What a user calls a model: a mistake is answered with what was probably meant; a model too large, with its size."""

import json
import os
import re
import resource
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_folder import CONFIG, assert_refused, write_folder, write_json

import minillm
from minillm.cli.main import run
from minillm.loading import open_checkpoint, open_config
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
    assert_refused(folder, "expected a name")


def test_a_folder_around_a_gguf_file_names_the_file(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"")
    assert_refused(tmp_path, r"config\.json is missing; .*, or pass the file .*/model\.gguf itself$")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert_refused(
        tmp_path / "model.safetensors", "a single file; expected the folder with config.json, or a .gguf file"
    )


def test_the_ending_of_a_gguf_file_may_be_in_capitals(tmp_path):
    (tmp_path / "x.GGUF").write_bytes(b"")
    assert_refused(tmp_path / "x.GGUF", r"^x\.GGUF: truncated")


NO_IDS = {"bos_token_id": None, "eos_token_ids": ()}


@pytest.mark.parametrize("name", ["~/m", "~/m/", "~/./m", Path("~/m")])
def test_a_tilde_is_the_home_folder_at_every_door(name, tmp_path, monkeypatch, capsys):
    """Shells leave it as it is in `--model=~/m`, in quotes and in batch files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write_folder(tmp_path / "m")
    assert minillm.load(name).config == open_checkpoint(name).config
    assert open_config(name) == replace(open_checkpoint(name).config, **NO_IDS)
    for arguments in (
        ["generate", "a", "--raw", "--max-new-tokens", "1", f"--model={name}"],
        ["generate", "a", "--max-new-tokens", "2", f"--model={name}", "--speculative", f"--draft={name}"],
        ["estimate", f"--model={name}"],
        ["estimate", f"--model={name}/config.json"],
    ):
        assert run(arguments) == 0, capsys.readouterr().err


def test_a_tilde_without_a_home_is_part_of_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused("~nobody-of-this-name/m", "no model '~nobody-of-this-name/m'")


class Elsewhere:
    """A path as a library other than pathlib makes it."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


def test_any_path_like_object_is_a_path(tmp_path):
    folder = write_folder(tmp_path)
    assert open_config(Elsewhere(str(folder))) == replace(minillm.load(Elsewhere(str(folder))).config, **NO_IDS)
    with pytest.raises(ValueError, match=r"model is .*; expected a name, a folder, a \.gguf file or"):
        minillm.load(Elsewhere(bytes(folder)))


LONGER = [
    ("hf:a/b@main", "a/b"), ("hf:a/b@0123", "a/b"), ("hf:https://huggingface.co/a/b", "a/b"), ("hf:hf.co/a/b", "a/b"),
    ("hf:https://huggingface.co/a/b.c-1/tree/main", "a/b.c-1"), ("hf:a/b/model.gguf", "a/b"), ("hf:a/b?x=1", "a/b"),
    ("hf:a/b:Q4_K_M", "a/b"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "meant"), LONGER)
def test_more_than_the_name_of_a_repository_is_answered_with_the_name(name, meant):
    with pytest.raises(
        ValueError, match=rf"expected hf:org/name; did you mean hf:{re.escape(meant)}\? .* a local copy"
    ):
        minillm.load(name)
    with pytest.raises(ValueError, match=rf"expected hf:org/name; did you mean hf:{re.escape(meant)}\?"):
        open_config(name)


@pytest.mark.parametrize("name", ["models--org--name", "hub/models--org--name", "https://huggingface.co/org/name"])
def test_other_ways_to_name_a_repository_are_answered_with_its_name(name):
    assert_refused(name, r"^no model .*; did you mean hf:org/name\?$")


CACHES = {
    "with a tilde": ({"MINILLM_CACHE": "~/mine", "HOME": "/home/me"}, "/home/me/mine"),
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
    write_json(
        write_folder(folder) / "config.json",
        CONFIG | {"vocab_size": vocab, "hidden_size": dim, "tie_word_embeddings": True},
    )
    size = vocab * dim * {"F32": 4, "F16": 2}[dtype]
    embedding = {"dtype": dtype, "shape": [vocab, dim], "data_offsets": [0, size]}
    header = json.dumps({"model.embed_tokens.weight": embedding}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)


def test_a_model_larger_than_the_machine_is_refused_before_it_is_read(tmp_path):
    write_mostly_hole(tmp_path, "F32", 2**24, 2**16)
    assert_refused(tmp_path, r"not enough memory for its weights: 4398\.0 GB needed as float32")


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not hold a process to RLIMIT_AS")
@pytest.mark.slow
def test_memory_that_ends_while_a_model_is_read_is_one_line(tmp_path):
    write_mostly_hole(tmp_path, "F16", 2**19, 2**10)  # 1 GB, 2 GB as float32
    program = "import minillm, sys; minillm.load(sys.argv[1])"
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))  # noqa: E731
    child = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True,
                           preexec_fn=limit, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})  # fmt: skip
    assert re.search(r"\nValueError: .*: not enough memory for its weights: 2\.1 GB needed as float32", child.stderr)
    assert "MemoryError" not in child.stderr
