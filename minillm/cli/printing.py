"""What all commands print with: text that is safe on a terminal, sizes that people read, JSON."""

import json
import sys
import unicodedata
from typing import Any


def safe(text: str) -> str:
    """Text from a model or a file without characters that could steer the terminal: they are shown as escapes."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Text of a message, on one line and at most 500 characters."""
    flat = safe(" ".join(text.split()))
    return flat if len(flat) <= 500 else flat[:497] + "..."


def write(text: str) -> None:
    """Text of a model to stdout, at once. A character that the terminal's encoding lacks becomes a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(safe(text).encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def print_json(values: dict[str, Any]) -> None:
    """One JSON object on stdout; ASCII, so that any terminal and any reader takes it."""
    print(json.dumps(values))


def bytes_text(count: int) -> str:
    """1,234,567 as '1.2 MB'; powers of 1000."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def seconds_text(seconds: float) -> str:
    """0.01234 as '12.3 ms'."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
