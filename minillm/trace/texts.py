"""Texts of tokens, one by one, and the bytes of those that are not text alone."""

from functools import cached_property
from typing import Any

from minillm.text.tokenizer import Tokenizer


class TokenTexts:
    """The tokens of a model that a trace has named so far."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self.tokenizer = tokenizer
        self.named = set[int]()

    def line(self, step: int, tokens: set[int]) -> dict[str, Any] | None:
        """Return the line with the texts of the tokens that were not named before; None if there are none."""
        new = sorted(tokens - self.named)
        self.named |= tokens
        if self.tokenizer is None or not new:
            return None
        texts = [(token, self.tokenizer.token_text(token)) for token in new]
        parts = [(token, self._bytes(token).hex()) for token, text in texts if "\ufffd" in text]
        return {"t": "tokens", "s": step, "texts": [*map(list, texts)], "bytes": [*map(list, parts)]}

    @cached_property
    def _stored(self) -> dict[int, str]:
        """The text of each id as the library stores it."""
        assert self.tokenizer is not None
        return {number: text for text, number in self.tokenizer.vocabulary.items()}

    def _bytes(self, token: int) -> bytes:
        """Return the bytes of a token: <0xC3> stands for one, and byte-level BPE has a character for each."""
        assert self.tokenizer is not None
        stored = self._stored.get(token, "")
        if self.tokenizer.is_byte(token):
            return bytes([int(stored[3:5], 16)])
        return bytes(CHARACTERS[character] for character in stored if character in CHARACTERS)


def _characters() -> dict[str, int]:
    """Return the byte that each character of byte-level BPE stands for: printable ones for themselves (GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


CHARACTERS = _characters()


def tokens_of(line: dict[str, Any]) -> set[int]:
    """Return the tokens that a line names."""
    match line["t"]:
        case "request":
            return set(line["prompt"])
        case "choice":
            return {line["token"], *(token for token, _ in line["before"]), *(token for token, _ in line["after"])}
        case "draft":
            return set(line["tokens"])
    return set()
