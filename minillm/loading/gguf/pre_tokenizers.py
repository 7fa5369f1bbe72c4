"""How byte-level BPE cuts text into words before merging, by the name that a GGUF file has for it.

A file has only the name (`tokenizer.ggml.pre`). The patterns are those of the original tokenizer.json files; where
there is none, those of llama.cpp's llama-vocab.cpp, which also says what a missing key means.
"""

from dataclasses import dataclass
from typing import Any

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DIGIT = r"\p{N}"
UNNAMED = (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")  # llama.cpp's, for files without a name
NFC: dict[str, Any] = {"type": "NFC"}


@dataclass(frozen=True)
class Cuts:
    """What is done to a text before its words are merged.

    Attributes:
        patterns: each cuts the pieces that the one before it left, at both ends of all that it finds.
        whole_words: whether a word that is a token becomes that token even if no merges form it.
        add_bos: whether a BOS token begins the sequence if the file does not say.
        normalizer: a step of tokenizer.json that comes first; None for none.
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    add_bos: bool = False
    normalizer: dict[str, Any] | None = None

    def steps(self) -> list[dict[str, Any]]:
        """Return the pre-tokenizers of a tokenizer.json."""
        return [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
            for pattern in self.patterns
        ]


DIGIT_BY_DIGIT = Cuts((DIGIT, GPT2))
LIKE_LLAMA3 = Cuts((LLAMA3,), whole_words=True, add_bos=True)
CUTS = {
    "default": Cuts(UNNAMED), "gpt-2": Cuts((GPT2,)), "smollm": DIGIT_BY_DIGIT, "refact": DIGIT_BY_DIGIT,
    "starcoder": DIGIT_BY_DIGIT, "llama-bpe": LIKE_LLAMA3, "llama3": LIKE_LLAMA3, "llama-v3": LIKE_LLAMA3,
    "falcon3": LIKE_LLAMA3, "smaug-bpe": Cuts((LLAMA3,)), "qwen2": Cuts((QWEN2,), normalizer=NFC),
    "deepseek-r1-qwen": Cuts((QWEN2,)), "megrez": Cuts((QWEN2,)),
    "tekken": Cuts((TEKKEN,), whole_words=True, add_bos=True),
}  # fmt: skip
