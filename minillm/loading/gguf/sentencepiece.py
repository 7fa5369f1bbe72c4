"""SentencePiece's BPE from the metadata of a GGUF file, as a tokenizer.json: how Llama 2 and Mistral 7B cut text.

SentencePiece holds no list of merges. Each token has a score, and of all neighbours whose join is a token, those with
the best-scored join are merged first. That is BPE over merges sorted by the score of what they make. "▁" stands for a
space; what no token covers becomes a token for each byte, `<0x0A>`. Source: Kudo and Richardson, 1808.06226.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

NORMAL, UNKNOWN = 1, 2
# Of a token that merges lead to, in characters. SentencePiece makes none above 16 unless it is told to: the longest of
# Llama 2 and Mistral 7B is sixteen times "▁". A text of 64 has 63 halves, so a small file could ask for many merges.
LONGEST = 64
MOST_MERGES = 2_000_000  # Llama 2's 32,000 tokens have about 61,000; a merge takes hundreds of bytes


def sentencepiece_definition(
    metadata: Mapping[str, Any], tokens: list[str], types: list[int], source: str
) -> dict[str, Any]:
    """A tokenizer.json without its added tokens.

    Raises:
        ValueError: there is not one score for each token, or too many merges.
    """
    scores = metadata.get("tokenizer.ggml.scores")
    numbers = isinstance(scores, list) and all(type(score) in (int, float) for score in scores)
    if not isinstance(scores, list) or not numbers or len(scores) != len(tokens):
        raise ValueError(f"{source}: tokenizer.ggml.scores: expected a list of {len(tokens)} numbers")
    merges = list(islice(_merges(tokens, types, scores), MOST_MERGES + 1))
    if len(merges) > MOST_MERGES:
        raise ValueError(f"{source}: tokenizer.ggml.tokens: expected at most {MOST_MERGES} ways to join two to a third")
    prefix = metadata.get("tokenizer.ggml.add_space_prefix", True) is True
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    before = [{"type": "Prepend", "prepend": "▁"}, spaces] if prefix else [spaces]
    after = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []
    unknown = next((text for text, kind in zip(tokens, types, strict=True) if kind == UNKNOWN), None)
    return {
        "truncation": None, "padding": None, "pre_tokenizer": None, "post_processor": None,
        "normalizer": {"type": "Sequence", "normalizers": before},
        "decoder": {"type": "Sequence", "decoders": after + strip},
        "model": {"type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {text: i for i, text in enumerate(tokens)}, "merges": merges},
    }  # fmt: skip


def _merges(tokens: list[str], types: list[int], scores: list[int | float]) -> Iterator[tuple[str, str]]:
    """Every way to join two plain tokens to a third, the best-scored join first. No merge makes a control token."""
    plain = {text: score for text, kind, score in zip(tokens, types, scores, strict=True) if kind == NORMAL}
    joins = sorted(plain, key=lambda text: -plain[text])
    return (pair for text in joins if len(text) <= LONGEST for pair in _halves(text) if plain.keys() >= set(pair))


def _halves(text: str) -> Iterator[tuple[str, str]]:
    """All ways to cut a text in two."""
    return ((text[:cut], text[cut:]) for cut in range(1, len(text)))
