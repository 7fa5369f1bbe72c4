"""Single keys of a terminal: characters, escape sequences of several terminals, and the end of the input."""

import os
import pty
import sys
import termios

import pytest

from minillm.support.keys import has_keys, keys_at_once, read_key


@pytest.fixture
def keyboard(monkeypatch):
    """The other end of a terminal that is standard input."""
    terminal, side = pty.openpty()
    with open(terminal, "rb", closefd=False), open(side, "rb") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield terminal
    os.close(terminal)


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (b"a\n\x7f", ["a", "enter", "backspace"]),
        (b"\x1b[C\x1b[D\x1bOA\x1bOB", ["right", "left", "up", "down"]),
        (b"\x1b[H\x1b[F\x1b[1~\x1b[4~\x1bOH\x1bOF", ["home", "end"] * 3),
        (b"\x1b[5~\x1b[6~\x1b[1;5C\x1b[15~a", ["page up", "page down", "unknown", "unknown", "a"]),
        (b"\x1b", ["escape"]),
        (b"\x04", ["end of input"]),
    ],
)
def test_keys_are_read_one_at_a_time(keyboard, typed, keys):
    with keys_at_once():
        os.write(keyboard, typed)
        assert [read_key(5) for _ in keys] == keys
        assert read_key(0) == ""


def test_keys_that_were_pressed_before_count(keyboard):
    os.write(keyboard, b"ab")
    with keys_at_once():
        assert [read_key(5), read_key(5)] == ["a", "b"]


def test_the_terminal_is_as_before(keyboard):
    before = termios.tcgetattr(sys.stdin)
    with pytest.raises(KeyboardInterrupt), keys_at_once():
        now = termios.tcgetattr(sys.stdin)
        assert not now[3] & (termios.ECHO | termios.ICANON) and now[3] & termios.ISIG
        raise KeyboardInterrupt
    assert termios.tcgetattr(sys.stdin) == before


def test_a_closed_terminal_is_the_end_of_the_input(monkeypatch):
    reader, writer = os.pipe()
    os.close(writer)
    with open(reader, "rb") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert read_key(5) == "end of input"


@pytest.mark.parametrize(("kind", "has"), [("xterm", True), ("dumb", False), ("", False)])
def test_a_dumb_terminal_has_no_screen(monkeypatch, kind, has):
    monkeypatch.setenv("TERM", kind)
    assert has_keys() == has
