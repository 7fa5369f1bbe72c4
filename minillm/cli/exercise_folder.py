"""The exercise folder that a command of `minillm exercise` names, and the progress in it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minillm.cli.printing import say_damaged, say_unsaved


def open_folder(options: argparse.Namespace) -> Any:
    """Return the Workspace of `--dir`. If its progress cannot be read, say so.

    Raises:
        ValueError: if the folder has no exercises.
    """
    from minillm.classroom.exercises.workspace import Workspace

    try:
        workspace = Workspace(Path(options.dir))
    except ValueError as problem:
        raise ValueError(f"{problem}, or pass --dir DIR") from None
    say_damaged(workspace.damaged)
    return workspace


def find(options: argparse.Namespace) -> Any:
    """Return the Exercise that is named.

    Raises:
        ValueError: if there is no such exercise.
    """
    from minillm.classroom.exercises.exercise import find_exercise

    return find_exercise(options.which)


def note(workspace: Any, exercise: Any, change: Callable[[Any], Any]) -> Any:
    """Change the progress of an exercise, and return it."""
    said = workspace.not_kept
    progress = workspace.note(exercise, change)
    if not said:
        say_unsaved(workspace.not_kept)
    return progress
