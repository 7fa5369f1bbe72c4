"""Open model files of every kind as a Checkpoint: registry names, folders, GGUF files, the Hugging Face hub."""

from os import PathLike, fspath
from pathlib import Path

from minillm.loading.checkpoint import Checkpoint

__all__ = ["Checkpoint", "open_checkpoint"]


def open_checkpoint(name: str | PathLike[str]) -> Checkpoint:
    """The checkpoint of this name: see `minillm.load`.

    Raises:
        ValueError: nothing has this name, or a file does not hold what it should.
        OSError: a file is missing or cannot be read, or a download failed.
    """
    from minillm.loading.folder import read_folder
    from minillm.loading.registry import REGISTRY

    if not isinstance(name, str | PathLike) or not fspath(name):
        raise ValueError(f"model is {str(name)[:40]!r}; expected a name, a folder, a .gguf file or hf:org/name")
    text = fspath(name)
    if text in REGISTRY:
        return REGISTRY[text].open()
    if text.startswith("hf:"):
        from minillm.loading.hub import fetch_from_hub

        return read_folder(fetch_from_hub(text), text)
    if len(text) > 4000 or "\0" in text:
        raise ValueError(f"model is {text[:40]!r}...; expected a name, a folder, a .gguf file or hf:org/name")
    path = Path(text)
    if path.is_dir():
        return read_folder(path, text)
    if path.is_file() and path.suffix == ".gguf":
        from minillm.loading.gguf_file import read_gguf

        return read_gguf(path)
    if path.is_file():
        raise ValueError(f"{path.name} is one file; expected the folder that holds config.json, or a .gguf file")
    raise ValueError(
        f"no model {text!r}: expected {', '.join(REGISTRY)}, a folder in Hugging Face layout, a .gguf file "
        "or hf:org/name"
    )
