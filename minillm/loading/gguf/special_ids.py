"""The tokens that a GGUF file names by their ids, such as `tokenizer.ggml.bos_token_id`.

Sources: ggml's docs/gguf.md; llama.cpp's llama-vocab.cpp, for the meaning of a missing key.
"""

import warnings
from collections.abc import Mapping
from reprlib import repr as short  # short for values of any size and depth
from typing import Any, TypeGuard

from minillm.support.wording import counted

# The name in chat templates, and the key. "seperator" is how the format spells it.
KEYS = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "sep_token": "seperator"}
KEYS |= {"pad_token": "padding", "cls_token": "cls", "mask_token": "mask"}
ENDS = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
SENTENCEPIECE = {"unknown": 0, "bos": 1, "eos": 2}  # ids where the file does not name them


def special_id(metadata: Mapping[str, Any], key: str, tokens: int) -> int | None:
    """Return the id under this key, or None if the file has none of its `tokens` there.

    An id outside the vocabulary, such as -1, is as good as none, as in llama.cpp.
    """
    given = metadata.get(name_of(key))
    if _is_token(given, tokens):
        return given
    usual = SENTENCEPIECE.get(key) if metadata.get("tokenizer.ggml.model") == "llama" else None
    return usual if _is_token(usual, min(tokens, _stored_tokens(metadata))) else None


def end_ids(metadata: Mapping[str, Any], tokens: int) -> list[int]:
    """Return the ids of tokens that end an answer."""
    ends = (special_id(metadata, key, tokens) for key in ENDS)
    return [end for end in ends if end is not None]


def named_tokens(metadata: Mapping[str, Any], tokens: list[str]) -> dict[str, str]:
    """Return the text of each token that the file names, by the name that chat templates use."""
    ids = {name: special_id(metadata, key, len(tokens)) for name, key in KEYS.items()}
    return {name: tokens[i] for name, i in ids.items() if i is not None}


def warn_of_bad_ids(metadata: Mapping[str, Any], tokens: int, source: str) -> None:
    """Issue one warning that names the ids which are not those of tokens."""
    ids = {name: metadata[name] for key in (*KEYS.values(), *ENDS) if (name := name_of(key)) in metadata}
    bad = [f"{name} {short(value)}" for name, value in ids.items() if not _is_token(value, tokens)]
    if bad:
        warnings.warn(f"{source}: ignored, since there are {counted(tokens, 'token')}: {', '.join(bad)}", stacklevel=6)


def name_of(key: str) -> str:
    """Return the key of the metadata: `tokenizer.ggml.bos_token_id` for `bos`."""
    return f"tokenizer.ggml.{key}_token_id"


def _is_token(value: Any, tokens: int) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < tokens


def _stored_tokens(metadata: Mapping[str, Any]) -> int:
    tokens = metadata.get("tokenizer.ggml.tokens")
    return len(tokens) if isinstance(tokens, list) else 0
