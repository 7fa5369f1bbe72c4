"""`minillm exercise`: write functions of the engine yourself; each is checked, and told what is wrong with it.

Exit status: 0 passed; 1 something failed or is not started; 2 invalid input.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from minillm.cli import bughunt
from minillm.cli.exercise_check import check
from minillm.cli.exercise_folder import find, note, open_folder
from minillm.cli.exercise_hints import hint
from minillm.cli.exercise_watch import watch
from minillm.cli.printing import print_json, say_damaged, say_unsaved, show, write
from minillm.support.terminal import terminal_width
from minillm.support.wording import counted

ALL_COLUMNS = 72  # width of a terminal that shows every column of `status`; a narrower one shows the first two


def add_parser(commands: Any) -> None:
    """Add `exercise` with its actions: start, check, watch, hint, reset, solution, status, bughunt."""
    parser = commands.add_parser(
        "exercise",
        help="write functions of the engine yourself",
        description="Write functions of the engine yourself, and check them.",
    )
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    start = actions.add_parser("start", help="create the exercise folder", description="Create the exercise folder.")
    start.add_argument("dir", metavar="DIR", help="a new folder")
    some = start.add_mutually_exclusive_group()
    some.add_argument("--lesson", metavar="N", help="only the exercises of a lesson, or of several: 3,4")
    some.add_argument("--only", metavar="NAMES", help="only these exercises: softmax,rope or 1-12")
    start.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    start.set_defaults(run=_start)
    for name, run, which, text in (
        ("check", check, "?", "check one exercise, or all of them"),
        ("watch", watch, None, "check an exercise whenever its file is saved"),
        ("hint", hint, 1, "show the next hint: the idea, the shapes, the steps, one line"),
        ("reset", _reset, 1, "put back the empty exercise; your file is kept as a .bak file"),
        ("solution", _solution, 1, "show the solution of an exercise that you have passed"),
        ("status", _status, None, "show your progress"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if which is not None:
            count = None if which == 1 else which
            action.add_argument("which", metavar="N", nargs=count, help="number or name of the exercise")
        action.add_argument("--dir", default=".", metavar="DIR", help="the exercise folder (default: this folder)")
        if name != "watch":
            action.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        if name == "check":
            action.add_argument("--seed", type=int, metavar="SEED", help="repeat the random cases of this seed")
        if name == "solution":
            action.add_argument("--give-up", action="store_true", help="show it although you have not passed")
        action.set_defaults(run=run)
    bughunt.add_parser(actions)


def _start(options: argparse.Namespace) -> int:
    from minillm.classroom.exercises.workspace import Workspace

    exercises = _chosen(options)
    workspace = Workspace.start(Path(options.dir), exercises)
    first = workspace.file(exercises[0])
    if options.json:
        print_json({"folder": str(workspace.folder), "exercises": [exercise.label for exercise in exercises]})
    else:
        are = f"{counted(len(exercises), 'exercise')} {'is' if len(exercises) == 1 else 'are'}"
        write(f"{are} in {workspace.folder}. Go there, open {first.name}, and run\n")
        write("    minillm exercise watch\n")
    return 0


def _chosen(options: argparse.Namespace) -> list[Any]:
    """Return the exercises that --lesson or --only names, by default all, in order."""
    from minillm.classroom.exercises.exercise import all_exercises
    from minillm.classroom.grading.course_file import chosen

    if options.only is not None:
        return list(chosen(options.only))
    if options.lesson is not None:
        numbers = {_lesson_number(number.strip()) for number in options.lesson.split(",")}
        return [exercise for exercise in all_exercises() if exercise.lesson in numbers]
    return all_exercises()


def _lesson_number(text: str) -> int:
    from minillm.classroom.exercises.exercise import all_exercises

    numbers = sorted({exercise.lesson for exercise in all_exercises()})
    if not text.isdecimal() or int(text) not in numbers:
        expected = f"the number of a lesson, from {numbers[0]} to {numbers[-1]}, or several: 3,4"
        raise ValueError(f"--lesson is {text[:40]!r}; expected {expected}")
    return int(text)


def _reset(options: argparse.Namespace) -> int:
    workspace, exercise = open_folder(options), find(options)
    backup = workspace.reset(exercise)
    say_unsaved(workspace.not_kept)
    if options.json:
        print_json({"exercise": exercise.label, "backup": str(backup) if backup else None})
    else:
        kept = f"; your file is kept as {backup.name}" if backup else ""
        write(f"{workspace.file(exercise).name} is the empty exercise again{kept}\n")
    return 0


def _solution(options: argparse.Namespace) -> int:
    workspace, exercise = open_folder(options), find(options)
    if not workspace.progress(exercise).passed:
        if not options.give_up:
            raise ValueError(
                f"{exercise.label} is not passed yet; check it first, or add --give-up to see the solution anyway"
            )
        note(workspace, exercise, lambda own: replace(own, gave_up=True))
    if options.json:
        print_json({"exercise": exercise.label, "solution": exercise.solution})
    else:
        write(exercise.solution)
    return 0


def _status(options: argparse.Namespace) -> int:
    from minillm.classroom.exercises.bughunt import all_bugs, damaged_hunts, found_bugs, has_hunts
    from minillm.classroom.exercises.workspace import is_workspace

    folder = Path(options.dir)
    found, hunts_only = found_bugs(folder), has_hunts(folder) and not is_workspace(folder)
    say_damaged(damaged_hunts(folder))
    workspace: Any = None if hunts_only else open_folder(options)
    exercises = [] if hunts_only else workspace.exercises
    known = {exercise: workspace.progress(exercise) for exercise in exercises}
    passed, bugs = sum(progress.passed for progress in known.values()), f"{len(found)} of {len(all_bugs())} bugs found"
    if options.json:
        rows = [{"exercise": e.label, "lesson": e.lesson, **asdict(progress)} for e, progress in known.items()]
        print_json({"passed": passed, "exercises": rows, "bugs_found": found, "bugs": len(all_bugs())})
    elif hunts_only:
        show(bugs)
    else:
        show(_status_table(workspace, known), f"{passed} of {len(exercises)} passed, {bugs}")
    return 0


def _status_table(workspace: Any, known: dict[Any, Any]) -> Any:
    from rich.table import Table

    headings = ["exercise", "state", "lesson", "attempts", "hints"]
    headings = headings if terminal_width() >= ALL_COLUMNS else headings[:2]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for exercise, progress in known.items():
        state = _state(progress, begun=progress.attempts and not workspace.is_untouched(exercise))
        rest = (exercise.lesson, progress.attempts, progress.hints)
        table.add_row(*[exercise.label, state, *map(str, rest)][: len(headings)])
    return table


def _state(progress: Any, begun: bool) -> str:
    """Return the state in words, such as `failed` or `passed, gave up`."""
    state = "passed" if progress.passed else "failed" if begun else ""
    return ", ".join(filter(None, (state, "gave up" if progress.gave_up else ""))) or "not started"
