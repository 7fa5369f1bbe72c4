"""Keys: single keys from a terminal, as they are pressed, without Enter.

A key that is not a character arrives as several bytes, an escape sequence (xterm, "Control Sequences"):

    a       61              "a"
    right   1b 5b 43        ESC [ C
    Home    1b 5b 31 7e     ESC [ 1 ~
    ESC     1b              and nothing after it
"""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 0.05  # seconds in which the rest of an escape sequence arrives, also over ssh
SEQUENCES = {
    **{"[A": "up", "[B": "down", "[C": "right", "[D": "left", "[H": "home", "[F": "end"},
    **{"OA": "up", "OB": "down", "OC": "right", "OD": "left", "OH": "home", "OF": "end"},
    **{"[1~": "home", "[7~": "home", "[4~": "end", "[8~": "end", "[5~": "page up", "[6~": "page down"},
}
CHARACTERS = {"\n": "enter", "\r": "enter", "\x7f": "backspace", "\x08": "backspace", "\x04": "end of input"}


def has_keys() -> bool:
    """Return whether single keys can be read, and a screen can be drawn again: not on Windows or a dumb terminal."""
    try:
        import termios  # noqa: F401
    except ImportError:
        return False
    return os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


@contextmanager
def keys_at_once() -> Iterator[None]:
    """Let the terminal pass on each key at once and not show it. Ctrl-C still interrupts."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)  # keys that were pressed before count
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def read_key(seconds: float) -> str:
    """Return the next key: a character, or the name of a key; "" if none came within this time.

    Names: up, down, left, right, home, end, page up, page down, enter, backspace, escape, end of input.
    """
    first = _read(seconds)
    if first is None:
        return ""
    if first != "\x1b":
        return CHARACTERS.get(first, first) if first else "end of input"
    sequence = ""
    while (more := _read(AT_ONCE)) and len(sequence) < 16:
        sequence += more
        if len(sequence) > 1 and "@" <= more <= "~":
            break
    return SEQUENCES.get(sequence, "unknown" if sequence else "escape")


def _read(seconds: float) -> str | None:
    """Return the next byte as a character; None if none came, "" at the end of the input."""
    terminal = sys.stdin.fileno()
    if not select.select([terminal], [], [], seconds)[0]:
        return None
    try:
        return os.read(terminal, 1).decode("latin-1")
    except OSError:  # the terminal is gone
        return ""
