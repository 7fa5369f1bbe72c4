"""A text to measure models with: English, 38,000 characters.

It is the prose of twelve lessons, without code, as it was when the figures of docs/quantization-accuracy.md were
measured. It is a copy, so that figures can be compared after a lesson has changed.
"""

from pathlib import Path

FILE = Path(__file__).with_suffix(".txt")


def lesson_text() -> str:
    """Return the text."""
    return FILE.read_text(encoding="utf-8")
