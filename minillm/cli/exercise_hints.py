"""`minillm exercise hint`: show one hint more each time."""

import argparse
from dataclasses import replace
from typing import Any

from minillm.cli.exercise_folder import find, note, open_folder
from minillm.cli.printing import print_json, show


def hint(options: argparse.Namespace) -> int:
    """Print one hint more than last time, after the earlier ones."""
    workspace, exercise = open_folder(options), find(options)
    level = next_level(workspace, exercise)
    if options.json:
        print_json({"exercise": exercise.label, "level": level, "hints": list(exercise.hints[:level])})
    else:
        show_hints(exercise, level)
    return 0


def next_level(workspace: Any, exercise: Any) -> int:
    """Count one hint more, and return how many the learner has seen."""
    most = len(exercise.hints)
    return int(note(workspace, exercise, lambda own: replace(own, hints=min(own.hints + 1, most))).hints)


def show_hints(exercise: Any, level: int, only_last: bool = False) -> None:
    """Print the hints up to this level, counted from 1, or only the last of them."""
    from rich.padding import Padding
    from rich.text import Text

    from minillm.classroom.exercises.exercise import LEVELS

    for number, (name, hint) in list(enumerate(zip(LEVELS, exercise.hints, strict=True), 1))[:level]:
        if number == level or not only_last:
            heading = f"{exercise.label}, hint {number} of {len(LEVELS)}, {name}:"
            show(Text(heading, "bold"), Padding(Text(hint), (0, 2)))
