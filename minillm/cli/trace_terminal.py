"""`minillm trace --terminal`: step through a run on the screen; in a pipe, print the frames that matter."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minillm.cli.printing import make_console, write
from minillm.support.keys import has_keys, keys_at_once, read_key
from minillm.support.terminal import is_interactive, terminal_width

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # another screen without a cursor, and back (xterm)
TOP, CLEAR_LINE = "\x1b[H", "\x1b[2K"
NO_HEIGHT = 24  # lines of a terminal that does not tell
OFTEN = 0.2  # seconds after which a new size of the terminal is seen


def show_on_terminal(trace: Any, view: str | None) -> None:
    """Replay a run, or print its frames that matter where no keys can be read."""
    if is_interactive() and has_keys():
        _replay(trace, view)
    else:
        _print_frames(trace, view)


def _print_frames(trace: Any, view: str | None) -> None:
    from minillm.trace.terminal.frames import NARROWEST, frames
    from minillm.trace.terminal.replay import best_view

    shown = frames(trace, view or best_view(trace), width=max(NARROWEST, terminal_width()))
    write("\n\n".join(shown) + "\n")


def _replay(trace: Any, view: str | None) -> None:
    from minillm.trace.terminal.replay import Replay

    replay = Replay(trace, view)
    with keys_at_once(), _other_screen():
        stays, size = True, (0, 0)
        while stays:
            key = ""
            while not key and size == _size():
                key = read_key(OFTEN)
            stays = replay.press(key)
            size = _size()
            _draw(replay.screen(*size), size)


@contextmanager
def _other_screen() -> Iterator[None]:
    """Draw on another screen than that of the shell, which comes back unchanged, also after Ctrl-C."""
    sys.stdout.write(ENTER)
    try:
        yield
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()


def _size() -> tuple[int, int]:
    """Return columns and lines of the terminal."""
    try:
        return terminal_width(), os.get_terminal_size(sys.stdout.fileno()).lines or NO_HEIGHT
    except (OSError, ValueError):
        return terminal_width(), NO_HEIGHT


def _draw(lines: list[Any], size: tuple[int, int]) -> None:
    """Draw a screen over the one before, so that nothing flickers."""
    from minillm.trace.terminal.characters import for_output

    console = make_console()
    drawn = list[str]()
    for line in lines:
        with console.capture() as captured:
            console.print(line, end="", no_wrap=True, overflow="crop", crop=True)
        drawn.append(CLEAR_LINE + for_output(captured.get()))
    sys.stdout.write(TOP + "\n".join(drawn))
    sys.stdout.flush()
