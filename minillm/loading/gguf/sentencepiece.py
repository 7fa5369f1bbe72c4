"""Convert SentencePiece's BPE from the metadata of a GGUF file to a tokenizer.json. Llama 2 and Mistral 7B use it.

SentencePiece has no list of merges. Each token has a score. Of all pairs of neighbours that form a token together, the
pair that forms the token with the highest score is merged first. That is BPE with the merges sorted by the score of the
token that they form. "▁" represents a space. Text that no token covers becomes one token for each byte, such as
`<0x0A>`. Source: Kudo and Richardson, 1808.06226.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from minillm.support.wording import counted

NORMAL, UNKNOWN = 1, 2
# The longest token that merges may form, in characters. SentencePiece forms none above 16 by default: the longest of
# Llama 2 and Mistral 7B is sixteen times "▁". A text of 64 characters can be cut in two at 63 places, so a small file
# could require very many merges.
LONGEST = 64
MOST_MERGES = 2_000_000  # Llama 2's 32,000 tokens have about 61,000; a merge takes hundreds of bytes


def sentencepiece_definition(
    metadata: Mapping[str, Any], tokens: list[str], types: list[int], source: str
) -> dict[str, Any]:
    """Return a tokenizer.json without its added tokens.

    Raises:
        ValueError: the number of scores is not the number of tokens, or there are too many merges.
    """
    scores = metadata.get("tokenizer.ggml.scores")
    numbers = isinstance(scores, list) and all(type(score) in (int, float) for score in scores)
    if not isinstance(scores, list) or not numbers or len(scores) != len(tokens):
        raise ValueError(f"{source}: tokenizer.ggml.scores: expected a list of {counted(len(tokens), 'number')}")
    merges = list(islice(_merges(tokens, types, scores), MOST_MERGES + 1))
    if len(merges) > MOST_MERGES:
        raise ValueError(
            f"{source}: tokenizer.ggml.tokens: expected at most {MOST_MERGES} merges of two tokens into a third"
        )
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
    """Yield each pair of plain tokens that forms a third one, highest score first. No merge forms a control token."""
    plain = {text: score for text, kind, score in zip(tokens, types, scores, strict=True) if kind == NORMAL}
    joins = sorted(plain, key=lambda text: -plain[text])
    return (pair for text in joins if len(text) <= LONGEST for pair in _halves(text) if plain.keys() >= set(pair))


def _halves(text: str) -> Iterator[tuple[str, str]]:
    """Return all ways to cut a text in two."""
    return ((text[:cut], text[cut:]) for cut in range(1, len(text)))
