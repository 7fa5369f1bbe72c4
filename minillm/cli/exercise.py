"""`minillm exercise`: write functions of the engine yourself; each is checked, and told what is wrong with it.

Exit status: 0 passed; 1 something failed or is not started; 2 invalid input.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from minillm.cli import bughunt
from minillm.cli.printing import print_json, say_damaged, say_unsaved, show, there, write
from minillm.support.terminal import is_interactive, terminal_width
from minillm.support.wording import counted

KEYS = "Type h, then Enter, for a hint."
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
    some.add_argument("--only", metavar="NAMES", help="only these exercises, by number or name: softmax,rope")
    start.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    start.set_defaults(run=_start)
    for name, run, which, text in (
        ("check", _check, "?", "check one exercise, or all of them"),
        ("watch", _watch, None, "check an exercise whenever its file is saved"),
        ("hint", _hint, 1, "show the next hint: the idea, the shapes, the steps, one line"),
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


def _open(options: argparse.Namespace) -> Any:
    from minillm.classroom.exercises.workspace import Workspace

    try:
        workspace = Workspace(Path(options.dir))
    except ValueError as problem:
        raise ValueError(f"{problem}, or pass --dir DIR") from None
    say_damaged(workspace.damaged)
    return workspace


def _find(options: argparse.Namespace) -> Any:
    from minillm.classroom.exercises.exercise import find_exercise

    return find_exercise(options.which)


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
    from minillm.classroom.exercises.exercise import all_exercises, find_exercise

    if options.only is not None:
        found = {find_exercise(name.strip()).name for name in options.only.split(",")}
        return [exercise for exercise in all_exercises() if exercise.name in found]
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


def _check(options: argparse.Namespace) -> int:
    from minillm.classroom.worker.worker import Worker
    from minillm.support.checks import check_integer

    if options.seed is not None:
        check_integer("--seed", options.seed, 0)
    workspace, verdicts = _open(options), []
    with Worker() as worker:
        for exercise in [_find(options)] if options.which else workspace.exercises:
            check = _check_one if options.which else _check_any
            verdicts.append(check(workspace, exercise, worker, options.seed))
            if not options.json:
                _show_verdict(verdicts, options, one=bool(options.which))
    if options.json:
        print_json({"exercises": [asdict(verdict) for verdict in verdicts], "locks": list(worker.locks)})
    elif not options.which:
        write(f"{sum(verdict.passed for verdict in verdicts)} of {len(verdicts)} passed\n")
        if len(worker.locks) < 2:
            sys.stderr.write("minillm: this system cannot lock the code in; check only files that you trust\n")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def _check_any(workspace: Any, exercise: Any, worker: Any, seed: int | None) -> Any:
    """Check one exercise of all. A file that is missing or cannot be read is a verdict, so the others are checked."""
    from minillm.classroom.exercises.checker import Verdict

    try:
        workspace.source(exercise)
    except (ValueError, OSError) as problem:
        missing = not os.path.lexists(workspace.file(exercise))
        return Verdict(exercise.label, False, "missing" if missing else "file", str(problem))
    return _check_one(workspace, exercise, worker, seed)


def _check_one(workspace: Any, exercise: Any, worker: Any, seed: int | None = None) -> Any:
    """Check one exercise and note the result; one that is not started does not count as an attempt."""
    from minillm.classroom.exercises.checker import check_apart

    verdict = check_apart(exercise, workspace.source(exercise), worker, seed)
    tried = verdict.stage != "not started"
    _note(workspace, exercise, lambda own: replace(own, passed=verdict.passed, attempts=own.attempts + tried))
    return verdict


def _note(workspace: Any, exercise: Any, change: Callable[[Any], Any]) -> Any:
    """Change the progress of an exercise, and return it."""
    said = workspace.not_kept
    progress = workspace.note(exercise, change)
    if not said:
        say_unsaved(workspace.not_kept)
    return progress


def _show_verdict(verdicts: list[Any], options: argparse.Namespace, one: bool, watching: bool = False) -> None:
    """Print the last verdict: in full, unless an earlier one has failed."""
    from minillm.classroom.exercises.report import heading, verdict_lines

    *before, verdict = verdicts
    failed_before = any(v.stage not in ("", "not started") for v in before)
    show(*([heading(verdict)] if failed_before else verdict_lines(verdict)))
    if watching and not verdict.passed:
        write("  Stuck? Type h, then Enter, for a hint.\n")
    elif one and not verdict.passed:
        write(f"  Stuck? minillm exercise hint {int(verdict.exercise[:2])}{there(options)}\n")
    elif one:
        write(f"  Compare: minillm exercise solution {int(verdict.exercise[:2])}{there(options)}\n")


def _watch(options: argparse.Namespace) -> int:
    from minillm.classroom.exercises.watch import TypedLines, saved_exercises
    from minillm.classroom.worker.worker import Worker

    workspace, typed = _open(options), TypedLines() if is_interactive() else None
    saved = saved_exercises(workspace, typed)  # before the first line is printed: a reader may save a file at once
    keys = f" {KEYS}" if typed else ""
    write(f"Watching {workspace.folder.absolute()}: each file is checked when you save it. Ctrl-C ends.{keys}\n")
    current = _say_next(workspace)
    with Worker() as worker:
        for event in saved:
            if isinstance(event, str):
                _answer_key(event, workspace, current)
                continue
            try:
                _show_verdict([_check_one(workspace, event, worker)], options, one=True, watching=bool(typed))
            except (ValueError, OSError) as problem:
                write(f"{problem}\n")
            first = _say_next(workspace)
            current = first if workspace.progress(event).passed else event
    return 0


def _answer_key(key: str, workspace: Any, exercise: Any) -> None:
    """Show the next hint for the exercise that was checked last, or comes next, if the key is `h`."""
    if key.lower() != "h":
        write(f"{KEYS}\n")
    elif exercise is None:
        write("All exercises are passed.\n")
    else:
        _show_hints(exercise, _next_level(workspace, exercise), only_last=True)


def _say_next(workspace: Any) -> Any:
    """Print how many exercises are passed, and which one is next. Return that one, or None if all are passed."""
    exercises = workspace.exercises
    left = [exercise for exercise in exercises if not workspace.progress(exercise).passed]
    done = len(exercises) - len(left)
    write(f"[{done}/{len(exercises)}] {f'next: {workspace.file(left[0]).name}' if left else 'all passed'}\n")
    return left[0] if left else None


def _hint(options: argparse.Namespace) -> int:
    """Print one hint more than last time, after the earlier ones."""
    workspace, exercise = _open(options), _find(options)
    level = _next_level(workspace, exercise)
    if options.json:
        print_json({"exercise": exercise.label, "level": level, "hints": list(exercise.hints[:level])})
    else:
        _show_hints(exercise, level)
    return 0


def _next_level(workspace: Any, exercise: Any) -> int:
    """Count one hint more, and return how many the learner has seen."""
    most = len(exercise.hints)
    return int(_note(workspace, exercise, lambda own: replace(own, hints=min(own.hints + 1, most))).hints)


def _show_hints(exercise: Any, level: int, only_last: bool = False) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from minillm.classroom.exercises.exercise import LEVELS

    for number, (name, hint) in list(enumerate(zip(LEVELS, exercise.hints, strict=True), 1))[:level]:
        if number == level or not only_last:
            heading = f"{exercise.label}, hint {number} of {len(LEVELS)}, {name}:"
            show(Text(heading, "bold"), Padding(Text(hint), (0, 2)))


def _reset(options: argparse.Namespace) -> int:
    workspace, exercise = _open(options), _find(options)
    backup = workspace.reset(exercise)
    say_unsaved(workspace.not_kept)
    if options.json:
        print_json({"exercise": exercise.label, "backup": str(backup) if backup else None})
    else:
        kept = f"; your file is kept as {backup.name}" if backup else ""
        write(f"{workspace.file(exercise).name} is the empty exercise again{kept}\n")
    return 0


def _solution(options: argparse.Namespace) -> int:
    workspace, exercise = _open(options), _find(options)
    if not workspace.progress(exercise).passed:
        if not options.give_up:
            raise ValueError(
                f"{exercise.label} is not passed yet; check it first, or add --give-up to see the solution anyway"
            )
        _note(workspace, exercise, lambda own: replace(own, gave_up=True))
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
    workspace: Any = None if hunts_only else _open(options)
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
