"""Watch: yield an exercise each time its file is saved, and each line that is typed meanwhile.

The files are polled twice a second. Polling also works on network and shared folders, unlike notifications of the
operating system.
"""

import os
import select
import sys
import time
from collections.abc import Callable, Iterator

from minillm.classroom.exercises.exercise import Exercise, all_exercises
from minillm.classroom.exercises.workspace import Workspace

INTERVAL_S = 0.5


class TypedLines:
    """The lines that are typed on a terminal, read while waiting for something else."""

    def __init__(self) -> None:
        self._ended = False

    def __call__(self, seconds: float) -> list[str]:
        """Wait for at most this time. Return the lines that were typed; after the end of the input, none."""
        if self._ended or not _in_foreground():
            time.sleep(seconds)
        elif select.select([sys.stdin], [], [], seconds)[0]:
            typed = os.read(sys.stdin.fileno(), 4096)
            self._ended = not typed
            return [line.strip() for line in typed.decode("utf-8", "replace").splitlines() if line.strip()]
        return []


def _in_foreground() -> bool:
    """Return whether this process may read from its terminal. Reading would stop one that a shell runs with `&`."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # a terminal that controls no process
        return True


def saved_exercises(workspace: Workspace, wait: Callable[[float], list[str]] | None = None) -> Iterator[Exercise | str]:
    """Yield each exercise whose file changes after this call. The iterator never ends.

    Args:
        workspace: the folder that is polled.
        wait: waits for the given seconds, and returns lines that were typed, which are yielded, too.
    """
    return _changes(workspace, {exercise.name: _stamp(workspace, exercise) for exercise in all_exercises()}, wait)


def _changes(
    workspace: Workspace, seen: dict[str, tuple[int, int] | None], wait: Callable[[float], list[str]] | None
) -> Iterator[Exercise | str]:
    while True:
        for exercise in all_exercises():
            stamp = _stamp(workspace, exercise)
            if stamp != seen[exercise.name]:
                seen[exercise.name] = stamp
                if stamp is not None:  # an editor may remove the file for a short time
                    yield exercise
        if wait is None:
            time.sleep(INTERVAL_S)
        else:
            yield from wait(INTERVAL_S)


def _stamp(workspace: Workspace, exercise: Exercise) -> tuple[int, int] | None:
    """Return the modification time and the size of the file, or None."""
    try:
        status = workspace.file(exercise).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
