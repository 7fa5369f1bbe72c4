"""A bound on the length of a text, by which a text that is far too long for a model is refused before it is encoded.

A token stands for at most a certain number of bytes. So a text with more bytes than that, times the context, has more
tokens than the context. Steps can shorten a text: Unicode's form C makes one letter of "e" and an accent, and a step
can remove all spaces. So the bound exists only for tokenizers whose steps are known to keep the text. Published
tokenizers of byte-level BPE and of SentencePiece's BPE are of this kind.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# The most bytes that can become one byte: the letters "𝐚" have 4 bytes, and a letter with its accents can have 13
# bytes where its form C has 3.
UNICODE = 5.0
SHORTENING = {"Prepend": 1.0, "NFC": UNICODE, "NFD": UNICODE, "NFKC": UNICODE, "NFKD": UNICODE, "Lowercase": UNICODE}
KEEPS_TEXT = {"ByteLevel", "Digits", "Metaspace", "UnicodeScripts"}
CAN_REMOVE_TEXT = {"Split", "Punctuation"}  # if their behavior is "Removed"


@dataclass(frozen=True)
class TextBound:
    """How many bytes a text can have.

    Attributes:
        bytes_per_token: the most bytes that one token stands for; infinite if nothing is known.
        dropped: bytes that become no token, because the vocabulary has none for them.
    """

    bytes_per_token: float = math.inf
    dropped: bytes = b""

    def allows(self, text: str, tokens: int) -> bool:
        """Return False if the text certainly has more than `tokens` tokens."""
        if len(text) <= tokens:
            return True
        kept = text.encode("utf-8", "surrogatepass").translate(None, self.dropped)
        return len(kept) / self.bytes_per_token <= tokens


def text_bound(facts: dict[str, Any]) -> TextBound:
    """Return the bound for a tokenizer.

    Args:
        facts: what `tokenizer_process.py` tells of it.
    """
    normalizers = list(_steps(facts["normalizer"], "normalizers"))
    cutters = list(_steps(facts["pre_tokenizer"], "pretokenizers"))
    dropped = _dropped(facts, byte_level=bool(cutters) and cutters[-1]["type"] == "ByteLevel")
    if facts["strips"] or dropped is None or (dropped and normalizers) or not all(map(_keeps_text, cutters)):
        return TextBound()
    longest = max([4, facts["longest_added"], *(len(text.encode()) for text in facts["vocabulary"])])
    return TextBound(float(longest) * math.prod(map(_shortening, normalizers)), dropped)


def _steps(step: dict[str, Any] | None, inner: str) -> Iterator[dict[str, Any]]:
    """Yield this step, or all steps of a sequence."""
    if step is not None and step["type"] == "Sequence":
        for part in step[inner]:
            yield from _steps(part, inner)
    elif step is not None:
        yield step


def _shortening(step: dict[str, Any]) -> float:
    """Return how many bytes can become one byte in this normalizer."""
    if step["type"] == "Replace":
        fixed, content = step["pattern"].get("String", ""), step["content"]
        return max(1.0, len(fixed.encode()) / len(content.encode())) if fixed and content else math.inf
    return SHORTENING.get(step["type"], math.inf)


def _keeps_text(step: dict[str, Any]) -> bool:
    return step["type"] in KEEPS_TEXT or (step["type"] in CAN_REMOVE_TEXT and step["behavior"] != "Removed")


def _dropped(facts: dict[str, Any], byte_level: bool) -> bytes | None:
    """Return the bytes that become no token, or None if that is not a matter of bytes."""
    model, vocabulary = facts["model"], facts["vocabulary"]
    if model is None or model["continuing_subword_prefix"] or model["end_of_word_suffix"]:
        return None
    if byte_level and model["unk_token"] is None:
        return bytes(byte for byte, letter in byte_letters().items() if letter not in vocabulary)
    fallback = model["byte_fallback"] and all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))
    counted = model["unk_token"] in vocabulary and not model["fuse_unk"]
    return b"" if fallback or counted else None


def byte_letters() -> dict[int, str]:
    """Return the letter that byte-level BPE writes for each byte: itself if it is visible in Latin-1."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(others)}
