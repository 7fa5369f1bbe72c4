"""The width of the terminal, whatever its kind; text wrapped to it."""

import os
import pty
import sys
import termios

import pytest

from minillm.support.terminal import terminal_width, wrapped


@pytest.fixture
def width_seen(monkeypatch):
    """What is seen of a terminal with this many columns, if the output is a pipe."""

    def look(columns, **environment):
        terminal, side = pty.openpty()
        termios.tcsetwinsize(side, (24, columns))
        monkeypatch.delenv("COLUMNS", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with open(terminal, "rb"), open(side, "rb") as stdin, open(os.devnull, "w") as stdout:
            for name, stream in (("__stdin__", stdin), ("__stdout__", stdout), ("__stderr__", None)):
                monkeypatch.setattr(sys, name, stream)
            return terminal_width()

    return look


@pytest.mark.parametrize("kind", ["dumb", "xterm", ""])
def test_the_terminal_itself_is_asked(width_seen, kind):
    """Also where the output is a pipe to a pager, and on a dumb terminal, which rich takes for 80 columns."""
    assert width_seen(40, TERM=kind) == 40


@pytest.mark.parametrize(("columns", "width"), [("33", 33), ("0", 20), ("-5", 61), ("wide", 61), ("", 61)])
def test_columns_say_more_than_the_terminal_if_they_are_a_number(width_seen, columns, width):
    assert width_seen(61, COLUMNS=columns) == width


def test_a_terminal_without_a_width_and_no_terminal_have_80_columns(width_seen, monkeypatch):
    assert width_seen(0) == 80
    for name in ("__stdin__", "__stdout__", "__stderr__"):
        monkeypatch.setattr(sys, name, None)
    assert terminal_width() == 80


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_text_is_wrapped_between_words(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    path = "/a/long-path/" + "x" * 90
    lines = wrapped(f"{'word ' * 40}\n open_checkpoint {path}", "  a) ", "     ").splitlines()
    assert lines[0].startswith("  a) word") and all(line.startswith("     ") for line in lines[1:])
    assert lines[-1].strip() == path
    assert min(columns, 78) - 15 <= max(map(len, lines[:-1])) <= min(columns, 78)
