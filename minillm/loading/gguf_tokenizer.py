"""Rebuild a tokenizer from the `tokenizer.*` metadata of a GGUF file: byte-level BPE, as in GPT-2 and its heirs.

A GGUF holds the vocabulary and the merges, and only *names* how text is cut before merging (`tokenizer.ggml.pre`).
"""

import json
from typing import Any, TypeGuard

from minillm.loading.tokenizer import Tokenizer

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CONTROL, USER_DEFINED = 3, 4


def tokenizer_from_gguf(metadata: dict[str, Any], eos_ids: tuple[int, ...]) -> Tokenizer:
    """The tokenizer that this metadata describes.

    Raises:
        ValueError: a kind of tokenizer that is not supported, or lists that do not fit together.
    """
    kind, tokens = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.tokens")
    types, merges = metadata.get("tokenizer.ggml.token_type"), metadata.get("tokenizer.ggml.merges")
    if kind != "gpt2":
        raise ValueError(
            f"tokenizer.ggml.model is {str(kind)[:40]!r}; expected gpt2 (byte-level BPE), the one supported"
        )
    if not _texts(tokens) or not _texts(merges) or not isinstance(types, list) or len(types) != len(tokens):
        raise ValueError("tokenizer.ggml: expected tokens and merges as texts, and a token_type for each token")
    if any(merge.count(" ") != 1 for merge in merges):
        raise ValueError("tokenizer.ggml.merges: expected two tokens and a space between in each")
    added = [
        {"id": i, "content": tokens[i], "special": types[i] == CONTROL, "normalized": False, "single_word": False,
         "lstrip": False, "rstrip": False}
        for i in range(len(tokens)) if types[i] in (CONTROL, USER_DEFINED)
    ]  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    definition = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*_cuts(metadata), byte_level]},
        "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {text: i for i, text in enumerate(tokens)}, "merges": [m.split(" ") for m in merges]},
    }  # fmt: skip
    bos, eos = (_token(metadata, name, tokens) for name in ("bos", "eos"))
    template = metadata.get("tokenizer.chat_template")
    add_bos = metadata.get("tokenizer.ggml.add_bos_token") is True
    chat_template = template if isinstance(template, str) else None
    text = json.dumps(definition).encode()
    return Tokenizer(text, eos_ids, chat_template, bos, eos, add_bos, "tokenizer.ggml")


def _texts(values: Any) -> TypeGuard[list[str]]:
    return isinstance(values, list) and all(isinstance(text, str) for text in values)


def _token(metadata: dict[str, Any], name: str, tokens: list[str]) -> str:
    number = metadata.get(f"tokenizer.ggml.{name}_token_id")
    return tokens[number] if type(number) is int and 0 <= number < len(tokens) else ""


def _cuts(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """How text is cut before merging."""
    pre = metadata.get("tokenizer.ggml.pre", "default")
    digits = [{"type": "Digits", "individual_digits": True}] if pre == "smollm" else []
    patterns = {"smollm": GPT2, "gpt-2": GPT2, "default": GPT2, "llama-bpe": LLAMA3, "llama3": LLAMA3, "qwen2": QWEN2}
    if not isinstance(pre, str) or pre not in patterns:
        raise ValueError(f"tokenizer.ggml.pre is {str(pre)[:40]!r}; expected one of {', '.join(patterns)}")
    split = {"type": "Split", "pattern": {"Regex": patterns[pre]}, "behavior": "Isolated", "invert": False}
    return [*digits, split]
