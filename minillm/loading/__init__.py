"""Loading: open a registry name, a folder, a GGUF file or a model of the Hugging Face hub as a Checkpoint.

`open_config` reads the config alone, without weights and tokenizer.
"""

import os
import re
from collections.abc import Iterable
from os import PathLike, fspath
from pathlib import Path
from reprlib import repr as short  # short for values of any size and depth

from minillm.config import ModelConfig
from minillm.loading.checkpoint import Checkpoint
from minillm.loading.hub import CONFIG
from minillm.loading.hub import NAME as NAME_ON_HUB
from minillm.support.file_kinds import LONGEST_KIND, seems

__all__ = ["Checkpoint", "open_checkpoint", "open_config"]

NO_IDS = {"bos_token_id": None, "eos_token_id": None}


def open_checkpoint(name: str | PathLike[str]) -> Checkpoint:
    """Open the checkpoint of this name. The names are those of `minillm.load`.

    Raises:
        ValueError: no model has this name, or the contents of a file are invalid.
        OSError: a file is missing or cannot be read, or a download failed.
    """
    from minillm.loading.folder import read_folder
    from minillm.loading.gguf.file import read_gguf
    from minillm.loading.registry import REGISTRY

    text = _checked(name)
    if text in REGISTRY:
        return REGISTRY[text].open()
    if text.startswith("hf:"):
        from minillm.loading.hub import fetch_from_hub

        return read_folder(fetch_from_hub(text), text)
    path = _existing(text)
    if path.is_dir():
        return read_folder(path, text)
    if not is_gguf(path):
        kind = seems(_first_bytes(path))
        raise ValueError(f"{path.name} is a single file; expected the folder with config.json, or a .gguf file{kind}")
    return read_gguf(path)


def open_config(name: str | PathLike[str]) -> ModelConfig:
    """Return the config of this name, which may be a config.json too. Weights and tokenizer are left alone.

    So are the ids of tokens in a config.json: the config returned has none.

    Raises:
        ValueError: no model has this name, or its config is invalid.
        OSError: a file is missing or cannot be read, or a download failed.
    """
    from minillm.loading.folder import required_config
    from minillm.loading.gguf.file import read_gguf_config
    from minillm.loading.read_config import read_config
    from minillm.loading.registry import REGISTRY
    from minillm.support.files import read_json

    text = _checked(name)
    if text in REGISTRY:
        file = required_config(REGISTRY[text].fetch())
    elif text.startswith("hf:"):
        from minillm.loading.hub import fetch_from_hub

        file = required_config(fetch_from_hub(text, CONFIG))
    else:
        path = _existing(text)
        file = required_config(path) if path.is_dir() else path
    if is_gguf(file):
        return read_gguf_config(file)
    values = read_json(file)
    return read_config(values | NO_IDS if isinstance(values, dict) else values, file.name)


def is_gguf(path: Path) -> bool:
    """Return whether this is a GGUF file, by its first bytes; one that is damaged there, by its name."""
    return _first_bytes(path).startswith(b"GGUF") or path.suffix.lower() == ".gguf"


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LONGEST_KIND)


def _checked(name: str | PathLike[str]) -> str:
    text = fspath(name) if isinstance(name, str | PathLike) else None
    if not isinstance(text, str) or not text or len(text) > 4000 or "\0" in text or len(text.splitlines()) > 1:
        raise ValueError(f"model is {short(name)}; expected a name, a folder, a .gguf file or hf:org/name")
    return text


def _existing(text: str) -> Path:
    """Return the path of a folder or an ordinary file; `~` at its beginning is the user's home."""
    from minillm.loading.registry import REGISTRY

    path = Path(os.path.expanduser(text))
    if not path.is_dir() and not path.is_file():
        raise ValueError(
            f"no model {text[:200]!r}: expected {', '.join(REGISTRY)}, a folder in Hugging Face layout, a .gguf file "
            f"or hf:org/name{_suggestion(text, REGISTRY)}"
        )
    return path


def _suggestion(text: str, names: Iterable[str]) -> str:
    """Return the probable intended name, as the end of a message."""
    from difflib import get_close_matches

    close = get_close_matches(text.lower(), names, 1)
    cached = re.search(r"models--([\w.-]+?)--([\w.-]+)", text, re.ASCII)
    linked = re.match(rf"(?:(?:https?://)?(?:huggingface|hf)\.co/)?({NAME_ON_HUB})$", text, re.ASCII)
    hub = [f"hf:{cached[1]}/{cached[2]}"] if cached else [f"hf:{linked[1]}"] if linked else []
    return "".join(f"; did you mean {meant}?" for meant in (close + hub)[:1])
