"""The terminal: whether there is one, its width, and text wrapped to it."""

import os
import sys
import textwrap

NARROWEST = 20  # columns; with fewer, as a broken COLUMNS may claim, rich would show nothing
NO_TERMINAL = 80  # columns in a pipe or a file
READABLE = 78  # columns of the longest line of text, as in the lessons


def terminal_width() -> int:
    """Return COLUMNS if it is set, else the columns of the terminal, else 80, but at least `NARROWEST`.

    The terminal itself is asked, also one of the kind `TERM=dumb`.
    """
    columns = os.environ.get("COLUMNS", "")
    return max(int(columns) if columns.isdecimal() else _asked_width(), NARROWEST)


def _asked_width() -> int:
    for stream in (sys.__stdout__, sys.__stdin__, sys.__stderr__):
        try:
            return os.get_terminal_size(stream.fileno()).columns or NO_TERMINAL  # type: ignore[union-attr]
        except (AttributeError, ValueError, OSError):  # closed, or not a terminal
            continue
    return NO_TERMINAL


def is_interactive() -> bool:
    """Return whether somebody can answer: input and output are terminals."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def wrapped(text: str, indent: str = "", hanging: str | None = None) -> str:
    """Return the text in lines as wide as the terminal. Words are never broken, so paths can be copied.

    Args:
        text: the text; its line breaks count as spaces.
        indent: the beginning of the first line.
        hanging: the beginning of the other lines, by default `indent`.
    """
    return textwrap.fill(
        " ".join(text.split()),
        min(terminal_width(), READABLE),
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def can_print(text: str) -> bool:
    """Return whether the encoding of standard output has all characters of a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
