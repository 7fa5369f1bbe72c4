"""Printable text: make text from a model, a file or a user safe for a terminal and for a one-line message."""

import unicodedata

REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # change the order in which text is displayed


def safe(text: str) -> str:
    """Return the text with escapes in place of characters that could control the terminal."""
    return "".join(ascii(c)[1:-1] if _steers(c) else c for c in text)


def _steers(character: str) -> bool:
    control = unicodedata.category(character) == "Cc" and character not in "\n\t"
    return control or character in REORDERING


def one_line(text: str) -> str:
    """Return the text of a message on one line, cut to at most 500 characters."""
    flat = safe(" ".join(text.split()))
    return flat if len(flat) <= 500 else flat[:497] + "..."
