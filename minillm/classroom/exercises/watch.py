"""Watch: yield an exercise each time its file is saved.

The files are polled twice a second. Polling also works on network and shared folders, unlike notifications of the
operating system.
"""

import time
from collections.abc import Iterator

from minillm.classroom.exercises.exercise import Exercise, all_exercises
from minillm.classroom.exercises.workspace import Workspace

INTERVAL_S = 0.5


def saved_exercises(workspace: Workspace) -> Iterator[Exercise]:
    """Yield each exercise whose file changes after this call. The iterator never ends."""
    return _changes(workspace, {exercise.name: _stamp(workspace, exercise) for exercise in all_exercises()})


def _changes(workspace: Workspace, seen: dict[str, tuple[int, int] | None]) -> Iterator[Exercise]:
    while True:
        for exercise in all_exercises():
            stamp = _stamp(workspace, exercise)
            if stamp != seen[exercise.name]:
                seen[exercise.name] = stamp
                if stamp is not None:  # an editor may remove the file for a short time
                    yield exercise
        time.sleep(INTERVAL_S)


def _stamp(workspace: Workspace, exercise: Exercise) -> tuple[int, int] | None:
    """Return the modification time and the size of the file, or None."""
    try:
        status = workspace.file(exercise).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
