"""Printable text: what comes from a model, a file or a user, made safe for a terminal and for a one-line message."""

import unicodedata

REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # show text in another order than it is stored


def safe(text: str) -> str:
    """Text from a model or a file without characters that could steer the terminal: they are shown as escapes."""
    return "".join(ascii(c)[1:-1] if _steers(c) else c for c in text)


def _steers(character: str) -> bool:
    control = unicodedata.category(character) == "Cc" and character not in "\n\t"
    return control or character in REORDERING


def one_line(text: str) -> str:
    """Text of a message, on one line and at most 500 characters."""
    flat = safe(" ".join(text.split()))
    return flat if len(flat) <= 500 else flat[:497] + "..."
