"""Loading: open a registry name, a folder, a GGUF file or a model of the Hugging Face hub as a Checkpoint."""

import re
from collections.abc import Iterable
from os import PathLike, fspath
from pathlib import Path
from reprlib import repr as short  # short for values of any size and depth

from minillm.loading.checkpoint import Checkpoint
from minillm.loading.hub import NAME as NAME_ON_HUB

__all__ = ["Checkpoint", "open_checkpoint"]


def open_checkpoint(name: str | PathLike[str]) -> Checkpoint:
    """Open the checkpoint of this name. The names are those of `minillm.load`.

    Raises:
        ValueError: no model has this name, or the contents of a file are invalid.
        OSError: a file is missing or cannot be read, or a download failed.
    """
    from minillm.loading.folder import read_folder
    from minillm.loading.registry import REGISTRY

    text = fspath(name) if isinstance(name, str | PathLike) else None
    if not isinstance(text, str) or not text or len(text) > 4000 or "\0" in text or len(text.splitlines()) > 1:
        raise ValueError(f"model is {short(name)}; expected a name, a folder, a .gguf file or hf:org/name")
    if text in REGISTRY:
        return REGISTRY[text].open()
    if text.startswith("hf:"):
        from minillm.loading.hub import fetch_from_hub

        return read_folder(fetch_from_hub(text), text)
    path = Path(text)
    if path.is_dir():
        return read_folder(path, text)
    if path.is_file() and path.suffix.lower() == ".gguf":
        from minillm.loading.gguf.file import read_gguf

        return read_gguf(path)
    if path.is_file():
        raise ValueError(f"{path.name} is a single file; expected the folder with config.json, or a .gguf file")
    raise ValueError(
        f"no model {text[:200]!r}: expected {', '.join(REGISTRY)}, a folder in Hugging Face layout, a .gguf file "
        f"or hf:org/name{_suggestion(text, REGISTRY)}"
    )


def _suggestion(text: str, names: Iterable[str]) -> str:
    """Return the probable intended name, as the end of a message."""
    from difflib import get_close_matches

    close = get_close_matches(text.lower(), names, 1)
    hub = [f"hf:{text}"] if re.fullmatch(NAME_ON_HUB, text, re.ASCII) else []
    return "".join(f"; did you mean {meant}?" for meant in (close + hub)[:1])
