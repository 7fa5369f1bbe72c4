"""Rebuild a tokenizer from the `tokenizer.*` metadata of a GGUF file. Two kinds are supported.

- `gpt2` is byte-level BPE, as in GPT-2 and its successors. The file contains the vocabulary and the merges. Of the rule
  that cuts text before merging it contains only a *name* (`tokenizer.ggml.pre`): see `pre_tokenizers.py`.
- `llama` is SentencePiece's BPE, as in Llama 2 and Mistral 7B: see `sentencepiece.py`.

A model with a tokenizer of a different kind takes token ids only. Source of the meaning of a missing key: llama.cpp's
llama-vocab.cpp.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from reprlib import repr as short  # short for values of any size and depth
from typing import Any, TypeGuard

from minillm.loading.gguf.pre_tokenizers import CUTS, Cuts
from minillm.loading.gguf.sentencepiece import sentencepiece_definition
from minillm.loading.gguf.special_ids import named_tokens
from minillm.text.special_tokens import SpecialTokens
from minillm.text.tokenizer import Tokenizer

UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4


def tokenizer_from_gguf(metadata: Mapping[str, Any], eos_ids: Sequence[int], source: str) -> Tokenizer | None:
    """Return the tokenizer that this metadata describes, or None if the file has no tokenizer.

    If its kind is not supported, issue a warning and return None.

    Raises:
        ValueError: the lists of the metadata do not match.
    """
    kind, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "default")
    if kind in (None, "none", "no_vocab"):
        return None
    if kind not in ("gpt2", "llama") or (kind == "gpt2" and (not isinstance(pre, str) or pre not in CUTS)):
        name, value, known = ("model", kind, ["gpt2", "llama"]) if kind != "gpt2" else ("pre", pre, list(CUTS))
        warnings.warn(
            f"{source}: tokenizer.ggml.{name} is {short(value)}; expected {', '.join(known)}: pass token ids, not text",
            stacklevel=5,
        )
        return None
    if kind == "gpt2" and "tokenizer.ggml.pre" not in metadata:
        warnings.warn(
            f"{source}: tokenizer.ggml.pre is missing; text is cut into words as llama.cpp does it in this case",
            stacklevel=5,
        )
    tokens, types = _vocabulary(metadata, source)
    ends = set(eos_ids)  # they represent no text, even if the file gives them another type
    types = [CONTROL if i in ends else kind for i, kind in enumerate(types)]
    if kind == "gpt2":
        cuts = CUTS[pre]
        definition, add_bos = _byte_level_definition(metadata, tokens, cuts, source), cuts.add_bos
    else:
        definition, add_bos = sentencepiece_definition(metadata, tokens, types, source), True
    if metadata.get("tokenizer.ggml.add_eos_token") is True:
        warnings.warn(f"{source}: tokenizer.ggml.add_eos_token without effect: a prompt continues", stacklevel=5)
    template = metadata.get("tokenizer.chat_template")
    text = json.dumps({"version": "1.0", "added_tokens": _added(tokens, types)} | definition).encode()
    return Tokenizer(
        text,
        eos_ids,
        template if isinstance(template, str) else None,
        SpecialTokens(named_tokens(metadata, tokens)),
        metadata.get("tokenizer.ggml.add_bos_token", add_bos) is True,
        f"{source}: tokenizer.ggml",
    )


def _vocabulary(metadata: Mapping[str, Any], source: str) -> tuple[list[str], list[int]]:
    """Return the text and the type of every token. The type of a plain token is 1."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    for number, token in enumerate(tokens if isinstance(tokens, list) else ()):
        if isinstance(token, bytes):
            raise ValueError(f"{source}: tokenizer.ggml.tokens: token {number} is not UTF-8: {short(token)}")
    if not is_texts(tokens) or not tokens:
        raise ValueError(f"{source}: tokenizer.ggml.tokens is {short(tokens)}; expected a list of strings")
    types = metadata.get("tokenizer.ggml.token_type", [1] * len(tokens))
    if not isinstance(types, list) or len(types) != len(tokens):
        raise ValueError(f"{source}: tokenizer.ggml.token_type: expected a list of {len(tokens)}, one for each token")
    return tokens, types


def _added(tokens: list[str], types: list[int]) -> list[dict[str, Any]]:
    """Return the tokens that are found in a text before it is cut. Tokens that do not represent text are special."""
    return [
        {"id": i, "content": tokens[i], "special": types[i] != USER_DEFINED, "normalized": False, "single_word": False,
         "lstrip": False, "rstrip": False}
        for i in range(len(tokens)) if types[i] in (UNKNOWN, CONTROL, USER_DEFINED)
    ]  # fmt: skip


def _byte_level_definition(metadata: Mapping[str, Any], tokens: list[str], cuts: Cuts, source: str) -> dict[str, Any]:
    """Return a tokenizer.json without its added tokens."""
    merges = metadata.get("tokenizer.ggml.merges")
    if not is_texts(merges) or any(merge.count(" ") != 1 for merge in merges):
        raise ValueError(f"{source}: tokenizer.ggml.merges: expected strings of two tokens with a space between them")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "truncation": None, "padding": None, "normalizer": cuts.normalizer, "post_processor": None,
        "decoder": byte_level,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*cuts.steps(), byte_level]},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "ignore_merges": cuts.whole_words, "vocab": {text: i for i, text in enumerate(tokens)},
                  "merges": [merge.split(" ") for merge in merges]},
    }  # fmt: skip


def is_texts(values: Any) -> TypeGuard[list[str]]:
    """Return whether this is a list of strings."""
    return isinstance(values, list) and all(isinstance(text, str) for text in values)
