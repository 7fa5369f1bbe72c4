"""The metadata of a GGUF file that describes a tokenizer: the inverse of `tokenizer.py`, with its two kinds.

The rule that cuts a text before merging becomes a name again, by comparison with the rules of `pre_tokenizers.py`. The
scores of SentencePiece's BPE are made from the ranks of its merges. What is written is read back and compared.
"""

import json
from collections.abc import Mapping
from typing import Any

from minillm.config import ModelConfig
from minillm.loading.gguf.pre_tokenizers import CUTS, DIGIT, GPT2
from minillm.loading.gguf.sentencepiece import sentencepiece_definition
from minillm.loading.gguf.special_ids import KEYS, name_of
from minillm.loading.gguf.tokenizer import CONTROL, UNKNOWN, USER_DEFINED
from minillm.support.wording import counted
from minillm.text.tokenizer import Tokenizer

NORMAL, UNUSED, BYTE = 1, 5, 6
ENDS = ("eos", "eot", "eom")  # the ids of the first three tokens that end an answer


def tokenizer_metadata(tokenizer: Tokenizer, config: ModelConfig) -> dict[str, Any]:
    """Return the `tokenizer.*` metadata.

    Raises:
        ValueError: GGUF, or this program's reader, cannot express the tokenizer.
    """
    definition = json.loads(tokenizer.to_json())
    model = definition["model"]
    if model["type"] != "BPE":
        raise ValueError(f"GGUF has no kind for its model {model['type']!r}; expected BPE")
    tokens, types = _tokens(tokenizer, definition, config.vocab_size)
    merges = [_pair(merge) for merge in model["merges"]]
    if model["byte_fallback"]:
        kind = {"tokenizer.ggml.model": "llama"} | _sentencepiece(definition, tokens, types, merges)
    else:
        kind = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": cuts_name(definition),
                "tokenizer.ggml.merges": [" ".join(pair) for pair in merges]}  # fmt: skip
    template = {} if tokenizer.chat_template is None else {"tokenizer.chat_template": tokenizer.chat_template}
    lists = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types}
    return kind | lists | _special_ids(tokenizer, config) | template


def _pair(merge: str | list[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _tokens(tokenizer: Tokenizer, definition: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Return the text and the type of every token; ids that have none are unused ones."""
    texts = {number: text for text, number in tokenizer.vocabulary.items()}
    if texts and max(texts) >= size:
        raise ValueError(f"it has a token {max(texts)}, but the model has {counted(size, 'token')}")
    types = dict.fromkeys(texts, NORMAL)
    types |= {i: BYTE for i in texts if definition["model"]["byte_fallback"] and tokenizer.is_byte(i)}
    added = {token["id"]: token for token in definition["added_tokens"]}
    types |= {i: CONTROL if token["special"] else USER_DEFINED for i, token in added.items()}
    unknown = tokenizer.vocabulary.get(definition["model"]["unk_token"] or "")
    types |= {} if unknown is None else {unknown: UNKNOWN}
    numbers = range(size)
    return [texts.get(i, f"[PAD{i}]") for i in numbers], [types.get(i, UNUSED) for i in numbers]


def cuts_name(definition: Mapping[str, Any]) -> str:
    """Return GGUF's name for the rule by which a byte-level tokenizer cuts a text.

    Raises:
        ValueError: no known name means this rule.
    """
    patterns, normalizer = _patterns(definition["pre_tokenizer"] or {}), definition["normalizer"]
    for name, cuts in CUTS.items():
        same = cuts.patterns == patterns and cuts.normalizer == normalizer
        if same and cuts.whole_words == definition["model"]["ignore_merges"]:
            return name
    raise ValueError("GGUF has no name for the rule by which it cuts a text into words")


def _patterns(step: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the patterns that a pre-tokenizer cuts by. One that does something else has a pattern that no rule has."""
    match step:
        case {"type": "Sequence", "pretokenizers": steps}:
            return tuple(pattern for each in steps for pattern in _patterns(each))
        case {"type": "Digits", "individual_digits": True}:
            return (DIGIT,)
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
            return (pattern,)
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": regex}:
            return (GPT2,) if regex else ()
    return (f"no pattern: {step.get('type')}",)


def _sentencepiece(
    definition: Mapping[str, Any], tokens: list[str], types: list[int], merges: list[tuple[str, str]]
) -> dict[str, Any]:
    """Return a score for each token: the negative rank of the first merge that forms it; 0 for others."""
    ranks: dict[str, int] = {}
    for left, right in merges:
        ranks.setdefault(left + right, len(ranks) + 1)
    scores = [float(-ranks.get(text, len(ranks) + 1)) for text in tokens]
    prefix = any(step["type"] == "Prepend" for step in (definition["normalizer"] or {}).get("normalizers", ()))
    metadata = {"tokenizer.ggml.scores": scores, "tokenizer.ggml.add_space_prefix": prefix}
    read = sentencepiece_definition(metadata, tokens, types, "")
    again = [_pair(merge) for merge in read["model"]["merges"]]
    same_order = list(dict.fromkeys(left + right for left, right in again)) == list(ranks)
    if set(again) != set(merges) or not same_order or read["normalizer"] != definition["normalizer"]:
        raise ValueError("it is not SentencePiece's BPE, the only kind with byte tokens that GGUF has")
    return metadata


def _special_ids(tokenizer: Tokenizer, config: ModelConfig) -> dict[str, Any]:
    """Return the ids of tokens with a name, and whether a BOS begins a prompt."""
    named = {key: tokenizer.token_id(tokenizer.named_tokens.get(name, "")) for name, key in KEYS.items()}
    bos = named["bos"] if config.bos_token_id is None else config.bos_token_id
    first = [named["eos"]] if named["eos"] in config.eos_token_ids else []
    ends = dict.fromkeys([*first, *config.eos_token_ids])
    ids = named | {"bos": bos} | dict(zip(ENDS, ends, strict=False))
    begins = tokenizer.encode_prompt("")
    if begins not in ([], [bos]):
        raise ValueError(f"it begins a prompt with {counted(len(begins), 'token')}; expected its BOS or nothing")
    found = {name_of(key): number for key, number in ids.items() if number is not None}
    return found | {"tokenizer.ggml.add_bos_token": bool(begins)}
