"""Models of the Hugging Face hub: from a small hub of our own, from the local cache, and with no hub at all."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from model_folder import save_model_folder

from minillm.loading.hub import fetch_from_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"  # a port that refuses every connection


class SmallHub(BaseHTTPRequestHandler):
    """Serves `server.folder` as the model org/name, and keeps in `server.fetched` which files were asked for."""

    def do_GET(self):
        folder, path = self.server.folder, self.path.split("?")[0]
        files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        if path.startswith("/api/models/org/name/tree/"):
            entries = [self.entry(name) for name in files]
            self.answer(json.dumps(entries).encode())
        elif path.startswith("/api/models/org/name"):
            siblings = [{"rfilename": name} for name in files]
            self.answer(json.dumps({"id": "org/name", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(f"/org/name/resolve/{COMMIT}/"):
            name = path.removeprefix(f"/org/name/resolve/{COMMIT}/")
            self.server.fetched.add(name)
            self.answer((folder / name).read_bytes())
        else:
            self.send_response(404 if "gated" not in path else 403)
            self.send_header("X-Error-Code", "GatedRepo" if "gated" in path else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_HEAD = do_GET

    def entry(self, name):
        data = (self.server.folder / name).read_bytes()
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def answer(self, data):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path):
    folder = save_model_folder(tmp_path / "served")
    for name in ("pytorch_model.bin", "modeling.py", "consolidated.safetensors", "onnx/config.json", "README.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("must not be fetched")
    with ThreadingHTTPServer(("127.0.0.1", 0), SmallHub) as server:
        server.folder, server.fetched = folder, set()
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def generate(tmp_path):
    """`minillm generate` in a new process, since the hub's library reads its settings when it is imported."""

    def run(model, **environment):
        command = [
            sys.executable,
            "-m",
            "minillm",
            "generate",
            "x",
            "--json",
            "--max-new-tokens",
            "1",
            "--model",
            model,
        ]
        settings = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": NOWHERE, **environment}
        settings.pop("HF_TOKEN", None)
        return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60)

    return run


def test_only_what_is_needed_is_fetched_and_then_loads_offline(hub, generate):
    online = generate("hf:org/name", HF_ENDPOINT=f"http://127.0.0.1:{hub.server_port}")
    assert (online.returncode, online.stderr) == (0, "")
    assert hub.fetched == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    for offline in (generate("hf:org/name"), generate("hf:org/name", HF_HUB_OFFLINE="1")):
        assert (offline.returncode, offline.stderr) == (0, "")
        assert json.loads(offline.stdout)["tokens"] == json.loads(online.stdout)["tokens"]


@pytest.mark.slow
def test_a_copy_in_the_local_cache_loads_offline(generate, tmp_path):
    """The layout that every program that uses the hub shares."""
    repository = tmp_path / "hf" / "hub" / "models--org--name"
    save_model_folder(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    assert generate("hf:org/name", HF_HUB_OFFLINE="1").returncode == 0
    shutil.rmtree(repository / "snapshots")
    assert generate("hf:org/name", HF_HUB_OFFLINE="1").returncode == 2


@pytest.mark.parametrize("environment", [{"HF_HUB_OFFLINE": "1"}, {}], ids=["offline", "unreachable"])
def test_without_a_connection_one_line_says_what_to_do(generate, environment):
    result = generate("hf:org/name", **environment)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "the hub cannot be reached, and no copy is in the local cache" in result.stderr
    assert "`hf download org/name`" in result.stderr


@pytest.mark.parametrize(
    ("name", "expected"), [("org/other", "there is no such model"), ("org/gated", "at huggingface.co/org/gated")]
)
def test_a_model_that_is_not_given_out(hub, generate, name, expected):
    result = generate(f"hf:{name}", HF_ENDPOINT=f"http://127.0.0.1:{hub.server_port}")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert expected in result.stderr


@pytest.mark.parametrize(
    "name",
    ["hf:", "hf:name", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a /b", "hf:a/é", "hf:" + "a" * 97 + "/b", "hf:a/b\n"],
)
def test_names_of_another_form_are_refused(name):
    with pytest.raises(ValueError, match="expected hf:org/name") as caught:
        fetch_from_hub(name)
    assert "\n" not in str(caught.value)


@pytest.fixture
def estimate(tmp_path):
    """`minillm estimate` in a new process."""

    def run(model, **environment):
        command = [sys.executable, "-m", "minillm", "estimate", "--model", model]
        settings = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": NOWHERE, **environment}
        settings.pop("HF_TOKEN", None)
        return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.slow
def test_an_estimate_fetches_the_config_alone(hub, estimate, generate):
    online = estimate("hf:org/name", HF_ENDPOINT=f"http://127.0.0.1:{hub.server_port}")
    assert (online.returncode, online.stderr, hub.fetched) == (0, "", {"config.json"})
    assert estimate("hf:org/name").returncode == 0
    offline = generate("hf:org/name", HF_HUB_OFFLINE="1")
    assert (offline.returncode, offline.stderr.count("\n")) == (2, 1)
    assert "the local copy is incomplete" in offline.stderr
    assert generate("hf:org/name", HF_ENDPOINT=f"http://127.0.0.1:{hub.server_port}").returncode == 0


REPOSITORIES = {
    "GGUF alone": (["name-Q4_K_M.gguf", "name-Q8_0.gguf", "README.md"],
                   "config.json is missing; found 'name-Q4_K_M.gguf', a GGUF file: pass its path"),
    "GGUF with a config": (["config.json", "name.gguf"],
                           "model.safetensors is missing; found 'name.gguf', a GGUF file"),
    "pickles": (["config.json", "pytorch_model.bin"], "found 'pytorch_model.bin', a pickle: pickles such as *.bin are"),
    "LoRA": (["adapter_config.json", "adapter_model.safetensors"], "a LoRA adapter: merge it"),
    "Diffusers": (["model_index.json", "unet/config.json"], "a Diffusers pipeline"),
}  # fmt: skip


AT_ONCE = ["GGUF with a config", "LoRA"]  # in plain pytest: each is a process


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=[] if name in AT_ONCE else pytest.mark.slow) for name in REPOSITORIES]
)
def test_a_repository_of_another_kind_is_told_by_its_files(hub, generate, case):
    names, message = REPOSITORIES[case]
    shutil.rmtree(hub.folder)
    for name in names:
        (hub.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (hub.folder / name).write_text("{}")
    result = generate("hf:org/name", HF_ENDPOINT=f"http://127.0.0.1:{hub.server_port}")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert message in result.stderr, result.stderr
    assert not any(name.endswith((".gguf", ".bin")) for name in hub.fetched)
