"""The tokens that a GGUF file names by their ids, such as `tokenizer.ggml.bos_token_id`.

Sources: ggml's docs/gguf.md; llama.cpp's llama-vocab.cpp, for the meaning of a missing key.
"""

from collections.abc import Mapping
from typing import Any

# The name in chat templates, and the key. "seperator" is how the format spells it.
KEYS = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "sep_token": "seperator"}
KEYS |= {"pad_token": "padding", "cls_token": "cls", "mask_token": "mask"}
ENDS = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
SENTENCEPIECE = {"unknown": 0, "bos": 1, "eos": 2}  # ids where the file does not name them


def special_id(metadata: Mapping[str, Any], key: str) -> Any:
    """Return the id under this key, unchecked, or None if the file has none."""
    given = metadata.get(f"tokenizer.ggml.{key}_token_id")
    if given is not None or metadata.get("tokenizer.ggml.model") != "llama" or key not in SENTENCEPIECE:
        return given
    tokens = metadata.get("tokenizer.ggml.tokens")
    return SENTENCEPIECE[key] if isinstance(tokens, list) and SENTENCEPIECE[key] < len(tokens) else None


def end_ids(metadata: Mapping[str, Any]) -> list[Any]:
    """Return the ids of tokens that end an answer, unchecked."""
    ends = (special_id(metadata, key) for key in ENDS)
    return [end for end in ends if end is not None]


def named_tokens(metadata: Mapping[str, Any], tokens: list[str]) -> dict[str, str]:
    """Return the text of each token that the file names, by the name that chat templates use."""
    ids = {name: special_id(metadata, key) for name, key in KEYS.items()}
    return {name: tokens[i] for name, i in ids.items() if type(i) is int and 0 <= i < len(tokens)}
