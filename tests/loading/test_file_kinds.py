"""What stands where a file should: pipes and devices that never end, folders, links, and files that are too large."""

import os
import re
import signal
import subprocess
import sys

import pytest
from tiny_folder import CONFIG, INDEX, assert_refused, weights, write_folder
from tiny_gguf import write_gguf

import minillm
from minillm.loading import open_checkpoint, tokenizer_folder
from minillm.support import files as json_file

OPTIONAL = ["generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
OPTIONAL += ["special_tokens_map.json", "added_tokens.json"]
KINDS = {
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "an empty device": lambda path: path.symlink_to("/dev/null"),
}


@pytest.fixture
def impatience():
    """Whoever reads a pipe that nobody writes to is interrupted."""

    def give_up(*_):
        raise RuntimeError("still waiting")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", INDEX, *OPTIONAL])
def test_only_ordinary_files_are_opened(name, kind, tmp_path, impatience):
    folder = write_folder(tmp_path / "model")
    (folder / name).unlink(missing_ok=True)
    if name == INDEX:
        (folder / "model.safetensors").unlink()
    KINDS[kind](folder / name)
    assert_refused(folder, "is missing|expected an ordinary file, found a folder, a pipe or a device$")


@pytest.mark.parametrize("kind", KINDS)
def test_only_an_ordinary_file_is_a_gguf(kind, tmp_path, impatience):
    KINDS[kind](tmp_path / "x.gguf")
    assert_refused(tmp_path / "x.gguf", r"^no model|config\.json is missing")


@pytest.mark.parametrize("name", [*OPTIONAL, "config.json"])
def test_a_file_that_is_too_large_is_not_parsed(name, tmp_path, monkeypatch):
    folder = write_folder(tmp_path)
    (folder / name).write_text('{"x": "' + "y" * json_file.LARGEST + '"}')
    monkeypatch.setattr(tokenizer_folder, "LARGEST_TOKENIZER", 1_000_000)
    assert_refused(folder, rf"^{name}: the file is too large; expected at most \d+ bytes")


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_link_to_nowhere_is_a_missing_file(name, tmp_path):
    folder = write_folder(tmp_path)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("nowhere")
    assert (minillm.load(folder).config.eos_token_ids, (folder / name).exists()) == ((1,), False)


@pytest.mark.parametrize("name", ["model.safetensors", "x.gguf"])
def test_a_file_that_is_cut_while_it_is_read_is_named(name, tmp_path):
    folder = write_folder(tmp_path)
    write_gguf(folder / "x.gguf", CONFIG, weights())
    checkpoint = open_checkpoint(folder / name if name == "x.gguf" else folder)
    os.truncate(folder / name, 100)
    with pytest.raises(ValueError, match=rf"^{re.escape(name)}: became shorter while it was read; do not change"):
        checkpoint.tensors["model.embed_tokens.weight"].read()


@pytest.mark.parametrize("name", ["model.safetensors", "x.gguf"])
@pytest.mark.parametrize("change", ["saved again", "another file in its place"])
def test_a_file_that_changes_while_it_is_read_is_named(name, change, tmp_path):
    """The values of two models would be mixed."""
    folder = write_folder(tmp_path)
    write_gguf(folder / "x.gguf", CONFIG, weights())
    checkpoint = open_checkpoint(folder / name if name == "x.gguf" else folder)
    checkpoint.tensors["model.norm.weight"].read()
    other = folder / ("other" if change == "another file in its place" else name)
    other.write_bytes((folder / name).read_bytes())
    os.utime(other, ns=(10**18, 10**18))
    other.rename(folder / name)
    with pytest.raises(ValueError, match=rf"^{re.escape(name)}: changed while it was read; do not change it during"):
        checkpoint.tensors["model.norm.weight"].read()


WIDE = CONFIG | {"hidden_size": 128, "intermediate_size": 256, "vocab_size": 4000}  # matrices of many pages


@pytest.mark.parametrize("backend", ["plain", "numpy"])
def test_a_loaded_model_does_not_need_its_file_any_more(backend, tmp_path):
    """A page of a mapped file that no longer exists ends the process by SIGBUS."""
    folder = write_folder(tmp_path, WIDE)
    program = (
        "import minillm, os, sys; folder, backend = sys.argv[1:]; model = minillm.load(folder, backend)\n"
        "before = minillm.forward(model, [1, 2, 3]).tolist(); os.truncate(folder + '/model.safetensors', 100)\n"
        "assert minillm.forward(model, [1, 2, 3]).tolist() == before"
    )
    child = subprocess.run([sys.executable, "-c", program, str(folder), backend], capture_output=True, text=True)
    assert (child.returncode, child.stderr) == (0, "")
