"""The kinds of file that are found in the place of another one, told by their first bytes, with the next step for each.

Every message about a file that is not what it should be ends with `seems(first bytes)`.
"""

import re
from dataclasses import dataclass

LONGEST_KIND = 512  # bytes that are enough to tell a kind


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        begins: matches its first bytes.
        what: what it is.
        next: what its owner can do.
        stand_in: whether it is never the contents of a file, but what came instead of them.
    """

    begins: bytes
    what: str
    next: str
    stand_in: bool = False


DOWNLOAD = "download the file again, with `hf download` for example"
CONVERT = "use the safetensors or a GGUF file of this model, or convert it"
UNPACK = "unpack it, and pass what is in it"
KINDS = (  # the first that matches
    Kind(rb"\Z", "empty", DOWNLOAD),
    Kind(rb"version https://(git-lfs|hawser)\.github\.com/spec/", "a Git LFS pointer, not the file itself",
         "run `git lfs pull` in its folder, or download the file with `hf download`", True),
    Kind(rb"(\.\./)*(\.git)?/annex/objects/", "a git-annex pointer, not the file itself",
         "run `git annex get` in its folder", True),
    Kind(rb"(?i:\s*(<\?xml[^>]*>\s*)?<(!doctype html|html|head|error)\b)", "a web page, saved in place of the file",
         "download the file itself: the page may ask for a login", True),
    Kind(rb"(?i:(entry|repository) not found|invalid (username|credentials)[^\n]*|access to model [^\n]*)\s*\Z",
         "the error message of a server", "check the name of the file, and for a gated model HF_TOKEN", True),
    Kind(rb"GGUF\0\0\0", "a big-endian GGUF file", "convert it: `gguf-convert-endian FILE little`"),
    Kind(rb"GGUF\x01\0\0\0", "a GGUF file of the first version", "convert the original model with today's llama.cpp"),
    Kind(rb"GGUF", "a GGUF file", "pass the path of this file as the model"),
    Kind(rb"lmgg|fmgg|tjgg|algg", "a GGML file from before GGUF (2023)", "use a GGUF file of this model"),
    Kind(rb".{3}[\0-\x0f]\0{4}\{\s*\"", "a safetensors file", "pass its folder, with config.json"),
    Kind(rb"MZqFpD", "a llamafile", "unzip it, and pass the .gguf file in it"),
    Kind(rb"PK\x03\x04.{26}[^/]+/(data\.pkl|constants\.pkl|version|byteorder|\.format_version)",
         "a PyTorch pickle", f"pickles can run programs and are never opened: {CONVERT}"),
    Kind(rb"PK\x03\x04.{26}[^\0]+\.npy|\x93NUMPY", "a NumPy array", CONVERT),
    Kind(rb"PK\x03\x04", "a zip archive", UNPACK),
    Kind(rb"\x80[\x02-\x05]|c[\w.]+\n[\w.]+\n", "a pickle, as PyTorch wrote before version 1.6",
         f"pickles can run programs and are never opened: {CONVERT}"),
    Kind(rb"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes", CONVERT),
    Kind(rb".{4}TFL3", "a TensorFlow Lite file", CONVERT),
    Kind(rb"\x08[\x01-\x20]\x12", "an ONNX or TensorFlow model", CONVERT),
    Kind(rb"\n.\n.<(unk|pad|s)>", "a SentencePiece model, such as tokenizer.model",
         "make tokenizer.json of it: `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)` of transformers"),
    Kind(rb"\x1f\x8b|BZh[1-9]1AY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf\x27\x1c|Rar!|.{257}ustar",
         "a compressed or packed archive", UNPACK),
    Kind(rb"\xff\xfe|\xfe\xff|\xef\xbb\xbf", "text that does not begin as plain UTF-8 does",
         "save it as UTF-8 without a byte order mark"),
    Kind(rb"\0{64}", "zeros at its beginning: a download that did not finish", DOWNLOAD),
    Kind(rb"\s*[\[{]\s*[\"\]}\[{]", "JSON text", "pass the folder that it belongs to"),
)  # fmt: skip


def find_kind(first: bytes) -> Kind | None:
    """Return the kind of the file that begins with these bytes, at least `LONGEST_KIND` unless the file is shorter."""
    return next((kind for kind in KINDS if re.match(kind.begins, first, re.DOTALL)), None)


def seems(first: bytes, expected: str = "") -> str:
    """Return what such a file is and what to do, as the end of a message; empty if it is `expected`, or not known."""
    kind = find_kind(first)
    return "" if kind is None or kind.what == expected else f"; it is {kind.what}: {kind.next}"
