"""Tokenizers small enough for tests: a token for each byte, a few merges, two or three special tokens."""

import json
from functools import cache

from tokenizers.pre_tokenizers import ByteLevel

from minillm.text.special_tokens import SpecialTokens
from minillm.text.tokenizer import Tokenizer

SPECIAL = ["<|im_start|>", "<|im_end|>"]
MERGES = [("a", "b"), ("ab", "c"), ("Ġ", "a")]  # Ġ is how byte-level BPE writes a space
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def definition() -> dict:
    """The parsed tokenizer.json."""
    texts = [*SPECIAL, *sorted(ByteLevel.alphabet()), *("".join(pair) for pair in MERGES)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [
        {"id": i, "content": text, "special": True, "normalized": False, "single_word": False, "lstrip": False,
         "rstrip": False}
        for i, text in enumerate(SPECIAL)
    ]  # fmt: skip
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {text: i for i, text in enumerate(texts)}, "merges": [list(pair) for pair in MERGES]},
    }  # fmt: skip


VOCAB_SIZE = len(definition()["model"]["vocab"])  # 261


@cache
def tiny_tokenizer(chat_template: str | None = CHATML) -> Tokenizer:
    return Tokenizer(json.dumps(definition()).encode(), chat_template=chat_template)


# Changes of a definition, for `definition() | change`.


def replace(pattern: str, content: str) -> dict:
    """A normalizer or a decoder."""
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def normalizers(*steps: dict) -> dict:
    return {"normalizer": {"type": "Sequence", "normalizers": list(steps)}}


def with_model(**changes: object) -> dict:
    return {"model": definition()["model"] | changes}


def with_added(content: str, **flags: object) -> dict:
    """One more added token, which is not special unless the flags say so."""
    first, number = definition()["added_tokens"][0], len(definition()["model"]["vocab"])
    more = first | {"id": number, "content": content, "special": False} | flags
    return {"added_tokens": [*definition()["added_tokens"], more]}


def llama2_style() -> dict:
    """SentencePiece's BPE as transformers converts it: '▁' for a space, bytes for what has no token."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "ab", "▁ab"]
    special = {"special": True, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
    values = definition() | {
        "added_tokens": [{"id": i, "content": pieces[i], **special} for i in range(3)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    }  # fmt: skip
    values["model"] |= {"vocab": {piece: i for i, piece in enumerate(pieces)}, "byte_fallback": True,
                        "fuse_unk": True, "unk_token": "<unk>", "merges": [["▁", "a"], ["a", "b"], ["▁a", "b"]],
                        }  # fmt: skip
    return values


def llama2_tokenizer() -> Tokenizer:
    names = SpecialTokens({"bos_token": "<s>", "eos_token": "</s>"})
    return Tokenizer(json.dumps(llama2_style()).encode(), tokens=names, add_bos=True)
