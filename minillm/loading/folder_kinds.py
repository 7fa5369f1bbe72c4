"""The kinds of folder and repository that are passed in place of a model's folder, told by the names in them.

Every message about a missing file of a folder ends with `looks_like(names)`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

MOST_NAMES = 10_000  # looked at in one folder


@dataclass(frozen=True)
class FolderKind:
    """One kind of folder: the pattern of a name that shows it, what that file is, and what its owner can do."""

    shown_by: str
    what: str
    next: str


CONVERT = "use a model with safetensors, or convert it with `from_pretrained` and `save_pretrained` of transformers"
UNFINISHED = "download it again with `hf download`"
KINDS = (  # the first that matches
    FolderKind(r"adapter_config\.json", "a LoRA adapter",
               "merge it into its base model with `merge_and_unload` of peft, and pass the folder of the result"),
    FolderKind(r"model_index\.json", "a Diffusers pipeline, which makes pictures", "pass a language model"),
    FolderKind(r"(modules|config_sentence_transformers)\.json", "a sentence-transformers model, which makes embeddings",
               "pass a model that generates text"),
    FolderKind(r"snapshots/[^/]+", "a model in the hub's cache", "pass that folder, or hf:org/name"),
    FolderKind(r".+\.(incomplete|part|partial|aria2|crdownload|download|tmp)", "a download that did not finish",
               UNFINISHED),
    FolderKind(r"refs|refs/main", "a model in the hub's cache without its files", UNFINISHED),
    FolderKind(r".+\.gguf", "a GGUF file", "pass its path, after `hf download` if it is on the hub"),
    FolderKind(r"[^/]+-\d{5}-of-\d{5}\.safetensors", "one of several shards",
               "download their index too: model.safetensors.index.json"),
    FolderKind(r"consolidated.*|params\.json", "a model in the format of its makers",
               "use the one in Hugging Face layout"),
    FolderKind(r"model\.safetensors\.index\.json", "the index of shards", UNFINISHED),
    FolderKind(r"[^/]+\.safetensors", "a safetensors file of another name",
               "if it is the whole model, rename it to model.safetensors"),
    FolderKind(r"[^/]+/config\.json", "the config of a model in a folder below", "pass that folder"),
    FolderKind(r".+\.safetensors", "a safetensors file in a folder below", "put the model into one folder"),
    FolderKind(r".+\.(bin|pt|pth|ckpt)", "a pickle", f"pickles such as *.bin are never opened: {CONVERT}"),
    FolderKind(r".+\.(h5|msgpack|pb|tflite|onnx|ot|nemo|mlpackage|mlmodel|keras|npz)", "a file of another framework",
               CONVERT),
)  # fmt: skip


def looks_like(names: Iterable[str]) -> str:
    """Return what the folder with these names is and what to do, as the end of a message; empty if it is not known."""
    known = sorted(names)
    for kind in KINDS:
        for name in known:
            if re.fullmatch(kind.shown_by, name, re.IGNORECASE):
                return f"; found {name[:100]!r}, {kind.what}: {kind.next}"
    return ""


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder and in the folders in it, such as `snapshots/0123abcd`."""
    places = ("*", "*/*", ".cache/huggingface/download/*")
    found = [islice(folder.glob(place), MOST_NAMES) for place in places]
    return [path.relative_to(folder).as_posix() for path in chain.from_iterable(found)]
