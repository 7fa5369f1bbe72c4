"""Frames: pictures of an algorithm after each of its steps. The reader moves from one to the next with Enter.

A frame is a text of plain characters. On a terminal each frame is drawn in place of the one before it. In a pipe, in a
notebook and with `--no-input`, the frames that matter are printed one after the other.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

from rich.cells import cell_len

import minillm.trace
from minillm.support.terminal import is_interactive, terminal_width, wrapped
from minillm.support.wording import counted
from minillm.trace.reader import Trace
from minillm.trace.terminal.characters import for_output
from minillm.trace.terminal.frames import NARROWEST, READABLE

UP_AND_CLEAR = "\x1b[{lines}A\x1b[J"  # move the cursor up, then clear from there to the end of the screen
BACK, LEAVE = ("b", "back", "\x1b[d"), ("q", "quit", "\x1b")  # also what the left arrow and Esc send

Stepper = Callable[[Sequence[str], Sequence[int]], None]


def step_through(frames: Sequence[str], printed: Sequence[int] = (0, -1)) -> None:
    """Show frames: one per Enter if somebody can press it, else those that matter.

    Args:
        frames: the pictures, in order.
        printed: which of them matter; -1 is the last.

    Raises:
        ValueError: there are no frames.
        IndexError: a frame that matters does not exist.

    Example:
        >>> from minillm.classroom.frames import step_through
        >>> step_through(["#..", "##.", "###"], printed=[-1])
        1 of 3 frames:
        ###
    """
    if not frames:
        raise ValueError("there are no frames; expected at least one")
    frames = [for_output(frame) for frame in frames]
    _steppers[-1](frames, sorted({range(len(frames))[number] for number in printed}))


def line_by_line(text: str, first: int = 1) -> list[str]:
    """Return the frames of a picture that grows: the first line, or lines, and in each frame one more.

    Example:
        >>> from minillm.classroom.frames import line_by_line
        >>> line_by_line("step\\n#..\\n##.", first=2)
        ['step\\n#..', 'step\\n#..\\n##.']
    """
    lines = text.splitlines()
    return ["\n".join(lines[:count]) for count in range(first, len(lines) + 1)]


def step_through_run(
    trace: Trace, view: str, steps: Sequence[int] | None = None, printed: Sequence[int] = (-1,)
) -> None:
    """Show steps of a run in one of the views of `minillm.trace.frames`, as `step_through` does.

    Args:
        trace: the run.
        view: "text", "pass", "cache", "attention", "choice", "batch" or "speculation".
        steps: their numbers; by default all with a pass.
        printed: the steps that matter, of these; -1 is the last.

    Raises:
        ValueError: there is no such view, or a step that matters is not shown.
        IndexError: there is no such step.
    """
    steps = range(1, len(trace.states.steps)) if steps is None else steps
    width = min(max(terminal_width(), NARROWEST), READABLE)
    frames = minillm.trace.frames(trace, view, steps, width)
    step_through(frames, [steps.index(step) if step >= 0 else step for step in printed])


@contextmanager
def stepping(stepper: Stepper) -> Iterator[None]:
    """Send the frames of `step_through` to `stepper` inside this context."""
    _steppers.append(stepper)
    try:
        yield
    finally:
        _steppers.pop()


def print_frames(frames: Sequence[str], printed: Sequence[int]) -> None:
    """Print the frames that matter, and how many there are."""
    of_all = f"{len(printed)} of {counted(len(frames), 'frame')}:\n"
    print(of_all + "\n\n".join(frames[number] for number in printed))


def step_on(screen: TextIO, frames: Sequence[str]) -> None:
    """Show one frame per Enter on a terminal. Print the frame at which the reader goes on to `sys.stdout`.

    Args:
        screen: the terminal. `sys.stdout` differs from it where the output of a cell is recorded.
        frames: the pictures.

    Raises:
        EOFError: the input has ended.
    """
    number: int | None = 0
    while number is not None:
        shown = frames[number]
        in_place = _can_clear(screen, shown)
        with redirect_stdout(screen if in_place else sys.stdout):
            print(shown)
        number = _moved(screen, number, len(frames))
        if in_place:
            screen.write(UP_AND_CLEAR.format(lines=shown.count("\n") + 2))
    if in_place:
        print(shown)


def _moved(screen: TextIO, number: int, count: int) -> int | None:
    """Return the frame that the reader wants to see next, or None to go on with the lesson."""
    following = "next" if number + 1 < count else "go on"
    with redirect_stdout(screen):
        command = input(f"[frame {number + 1}/{count}: Enter {following}, b back, q skip] > ").strip().lower()
    if command in LEAVE or (command not in BACK and number + 1 == count):
        return None
    return max(0, number - 1) if command in BACK else number + 1


def _can_clear(screen: TextIO, frame: str) -> bool:
    """Return whether the terminal can clear lines, and has room for all lines of a frame and the prompt."""
    columns, rows = shutil.get_terminal_size()
    lines = frame.splitlines()
    fits = len(lines) + 2 <= rows and max(map(cell_len, lines), default=0) < columns
    return fits and screen.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _step_if_interactive(frames: Sequence[str], printed: Sequence[int]) -> None:
    """Step if the session is interactive, else print: for `python lesson.py`, or a notebook."""
    if not is_interactive():
        print_frames(frames, printed)
        return
    try:
        step_on(sys.stdout, frames)
    except EOFError:
        print(wrapped("The input has ended: the other frames are skipped."))


_steppers: list[Stepper] = [_step_if_interactive]  # the last one receives the frames
