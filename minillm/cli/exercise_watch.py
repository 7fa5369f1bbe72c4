"""`minillm exercise watch`: check an exercise whenever its file is saved, and give hints."""

import argparse
from typing import Any

from minillm.cli.exercise_check import check_one, show_verdict
from minillm.cli.exercise_folder import open_folder
from minillm.cli.exercise_hints import next_level, show_hints
from minillm.cli.printing import write
from minillm.support.terminal import is_interactive

KEYS = "Type h, then Enter, for a hint."
LEAVE = ("q", "quit")


def watch(options: argparse.Namespace) -> int:
    """Check each file that is saved, and answer keys if somebody can type them. It ends with `q` or Ctrl-C."""
    from minillm.classroom.exercises.watch import TypedLines, saved_exercises
    from minillm.classroom.worker.worker import Worker

    workspace, typed = open_folder(options), TypedLines() if is_interactive() else None
    saved = saved_exercises(workspace, typed)  # before the first line is printed: a reader may save a file at once
    keys = KEYS if typed else ""
    write(f"Watching {workspace.folder.absolute()}: each file is checked when you save it.\n")
    write(f"{keys} q ends.\n" if typed else "Ctrl-C ends.\n")
    current = _say_next(workspace)
    with Worker() as worker:
        for event in saved:
            if isinstance(event, str) and event.lower() in LEAVE:
                break
            if isinstance(event, str):
                _answer_key(event, workspace, current)
            else:
                _check_saved(event, workspace, worker, options, keys)
                following = _say_next(workspace)
                current = following if workspace.progress(event).passed else event
    return 0


def _check_saved(exercise: Any, workspace: Any, worker: Any, options: argparse.Namespace, keys: str) -> None:
    try:
        show_verdict([check_one(workspace, exercise, worker)], options, one=True, stuck=keys)
    except (ValueError, OSError) as problem:
        write(f"{problem}\n")


def _answer_key(key: str, workspace: Any, exercise: Any) -> None:
    """Show the next hint for the exercise that was checked last, or comes next, if the key is `h`."""
    if key.lower() != "h":
        write(f"{KEYS} q ends.\n")
    elif exercise is None:
        write("All exercises are passed.\n")
    else:
        show_hints(exercise, next_level(workspace, exercise), only_last=True)


def _say_next(workspace: Any) -> Any:
    """Print how many exercises are passed, and which one is next. Return that one, or None if all are passed."""
    exercises = workspace.exercises
    left = [exercise for exercise in exercises if not workspace.progress(exercise).passed]
    done = len(exercises) - len(left)
    write(f"[{done}/{len(exercises)}] {f'next: {workspace.file(left[0]).name}' if left else 'all passed'}\n")
    return left[0] if left else None
