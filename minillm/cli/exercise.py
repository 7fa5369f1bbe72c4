"""`minillm exercise`: write a function of the engine yourself, and be told what is wrong with it.

Exit codes: 0 passed; 1 something failed or is not started; 2 wrong use.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minillm.cli.printing import print_json, show, terminal_width, write
from minillm.support.printable import safe

ALL_COLUMNS = 72  # of the terminal, for every column of `status`; a narrower one shows exercises and their states


def add_parser(commands: Any) -> None:
    """Describe the command and what it can do."""
    parser = commands.add_parser(
        "exercise",
        help="write it yourself",
        description="Write functions of the engine yourself, and have them checked.",
    )
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    start = actions.add_parser("start", help="write a new folder with all exercises", description="Begin.")
    start.add_argument("dir", metavar="DIR", help="a new folder")
    start.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    start.set_defaults(run=_start)
    for name, run, which, text in (
        ("check", _check, "?", "check one exercise, or all"),
        ("watch", _watch, None, "check whenever a file is saved"),
        ("hint", _hint, 1, "a hint; again, one more: the idea, the shapes, the steps, one line"),
        ("reset", _reset, 1, "put the empty exercise back; your file is kept beside it"),
        ("solution", _solution, 1, "show the solution of an exercise that you passed"),
        ("status", _status, None, "what is passed"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if which is not None:
            action.add_argument("which", metavar="N", nargs=None if which == 1 else which, help="its number or name")
        action.add_argument("--dir", default=".", metavar="DIR", help="the folder of the exercises (default: this one)")
        if name != "watch":
            action.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        if name == "solution":
            action.add_argument("--give-up", action="store_true", help="show it before you have passed")
        action.set_defaults(run=run)
    hunt = actions.add_parser(
        "bughunt",
        help="find the planted bug in an engine or an estimate",
        description="An engine, or from some number on an estimate, with one bug: find its line.",
    )
    hunt.add_argument("which", metavar="N", nargs="?", default="1", help="which bug (default 1)")
    hunt.add_argument("--answer", metavar="FUNCTION:LINE", help="where you think it is")
    hunt.add_argument("--dir", default=".", metavar="DIR", help="where the file is written (default: here)")
    hunt.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    hunt.set_defaults(run=_bughunt)


def _open(options: argparse.Namespace) -> Any:
    from minillm.classroom.exercises.workspace import Workspace

    try:
        return Workspace(Path(options.dir))
    except ValueError as problem:
        raise ValueError(f"{problem}, or pass --dir DIR") from None


def _find(options: argparse.Namespace) -> Any:
    from minillm.classroom.exercises.exercise import find_exercise

    return find_exercise(options.which)


def _start(options: argparse.Namespace) -> int:
    from minillm.classroom.exercises.exercise import all_exercises
    from minillm.classroom.exercises.workspace import Workspace

    workspace = Workspace.start(Path(options.dir))
    first = workspace.file(all_exercises()[0])
    if options.json:
        print_json({"folder": str(workspace.folder), "exercises": [e.label for e in all_exercises()]})
    else:
        write(f"{len(all_exercises())} exercises are in {workspace.folder}. Go there, open {first.name}, and run\n")
        write("    minillm exercise watch\n")
    return 0


def _check(options: argparse.Namespace) -> int:
    from minillm.classroom.exercises.exercise import all_exercises
    from minillm.classroom.worker.worker import Worker

    workspace, verdicts = _open(options), []
    with Worker() as worker:
        for exercise in [_find(options)] if options.which else all_exercises():
            verdicts.append(_check_one(workspace, exercise, worker))
            if not options.json:
                _show_verdict(verdicts, one=bool(options.which))
    if options.json:
        print_json({"exercises": [asdict(verdict) for verdict in verdicts]})
    elif not options.which:
        write(f"{sum(verdict.passed for verdict in verdicts)} of {len(verdicts)} passed\n")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def _check_one(workspace: Any, exercise: Any, worker: Any) -> Any:
    """Check it, and note how it went; an exercise that was not started is no attempt."""
    from minillm.classroom.exercises.checker import check_apart

    verdict = check_apart(exercise, workspace.source(exercise), worker)
    attempts = workspace.progress(exercise).attempts + (verdict.stage != "not started")
    _note(workspace, exercise, passed=verdict.passed, attempts=attempts)
    return verdict


def _note(workspace: Any, exercise: Any, **changes: Any) -> None:
    """Note it; where that cannot be written, one line says so, once, and the command goes on."""
    said = workspace.not_kept
    workspace.note(exercise, **changes)
    if workspace.not_kept and not said:
        sys.stderr.write(f"minillm: progress is not kept: {safe(workspace.not_kept)}\n")


def _show_verdict(verdicts: list[Any], one: bool) -> None:
    """The last of them; of several, only the first that fails in full."""
    from minillm.classroom.exercises.report import heading, verdict_lines

    *before, verdict = verdicts
    failed_before = any(v.stage not in ("", "not started") for v in before)
    show(*([heading(verdict)] if failed_before else verdict_lines(verdict)))
    if one and not verdict.passed:
        number = int(verdict.exercise[:2])
        write(f"  Stuck? minillm exercise hint {number}\n")
    elif one:
        write(f"  Compare: minillm exercise solution {int(verdict.exercise[:2])}\n")


def _watch(options: argparse.Namespace) -> int:
    from minillm.classroom.exercises.exercise import all_exercises
    from minillm.classroom.exercises.watch import saved_exercises
    from minillm.classroom.worker.worker import Worker

    workspace = _open(options)
    saved = saved_exercises(workspace)  # before anything is said: who reads it may save a file at once
    write(f"Watching {workspace.folder.absolute()}: save a file, and it is checked. Ctrl-C ends.\n")
    _say_next(workspace, all_exercises())
    with Worker() as worker:
        for exercise in saved:
            try:
                _show_verdict([_check_one(workspace, exercise, worker)], one=True)
            except (ValueError, OSError) as problem:
                write(f"{problem}\n")
            _say_next(workspace, all_exercises())
    return 0


def _say_next(workspace: Any, exercises: list[Any]) -> None:
    left = [exercise for exercise in exercises if not workspace.progress(exercise).passed]
    done = len(exercises) - len(left)
    write(f"[{done}/{len(exercises)}] {f'next: {workspace.file(left[0]).name}' if left else 'all passed'}\n")


def _hint(options: argparse.Namespace) -> int:
    """One more than last time, and those before it."""
    from rich.padding import Padding
    from rich.text import Text

    from minillm.classroom.exercises.exercise import LEVELS

    workspace, exercise = _open(options), _find(options)
    level = min(workspace.progress(exercise).hints + 1, len(LEVELS))
    _note(workspace, exercise, hints=level)
    hints = list(zip(LEVELS, exercise.hints, strict=True))[:level]
    if options.json:
        print_json({"exercise": exercise.label, "level": level, "hints": [hint for _, hint in hints]})
        return 0
    for number, (name, hint) in enumerate(hints, start=1):
        show(Text(f"{exercise.label}, hint {number} of {len(LEVELS)}, {name}:", "bold"), Padding(Text(hint), (0, 2)))
    return 0


def _reset(options: argparse.Namespace) -> int:
    workspace, exercise = _open(options), _find(options)
    backup = workspace.reset(exercise)
    if options.json:
        print_json({"exercise": exercise.label, "backup": str(backup) if backup else None})
    else:
        kept = f"; your file is {backup.name}" if backup else ""
        write(f"{workspace.file(exercise).name} is as it was in the beginning{kept}\n")
    return 0


def _solution(options: argparse.Namespace) -> int:
    workspace, exercise = _open(options), _find(options)
    if not workspace.progress(exercise).passed:
        if not options.give_up:
            raise ValueError(
                f"{exercise.label} is not passed yet; check it first, or add --give-up to see it all the same"
            )
        _note(workspace, exercise, gave_up=True)
    if options.json:
        print_json({"exercise": exercise.label, "solution": exercise.solution})
    else:
        write(exercise.solution)
    return 0


def _status(options: argparse.Namespace) -> int:
    from rich.table import Table

    from minillm.classroom.exercises.exercise import all_exercises

    workspace, exercises = _open(options), all_exercises()
    known = {exercise: workspace.progress(exercise) for exercise in exercises}
    passed = sum(progress.passed for progress in known.values())
    if options.json:
        rows = [{"exercise": e.label, "lesson": e.lesson, **asdict(progress)} for e, progress in known.items()]
        print_json({"passed": passed, "exercises": rows})
        return 0
    headings = ["exercise", "state", "lesson", "attempts", "hints"]
    headings = headings if terminal_width() >= ALL_COLUMNS else headings[:2]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for exercise, progress in known.items():
        rest = (exercise.lesson, progress.attempts, progress.hints)
        table.add_row(*[exercise.label, _state(progress), *map(str, rest)][: len(headings)])
    show(table, f"{passed} of {len(exercises)} passed")
    return 0


def _state(progress: Any) -> str:
    """In words."""
    state = "passed" if progress.passed else "failed" if progress.attempts else "not started"
    return state + (", gave up" if progress.gave_up else "")


def _bughunt(options: argparse.Namespace) -> int:
    from minillm.classroom.exercises.bughunt import SHOWN_BY, all_bugs, answer, find_bug, hunt_file
    from minillm.support.checks import check_integer

    if not options.which.isdecimal():
        raise ValueError(f"there is no hunt {options.which[:40]!r}; expected a number from 1 to {len(all_bugs())}")
    number = check_integer("N", int(options.which), 1, len(all_bugs()))
    if options.answer:
        found, text = answer(number, options.answer)
        if options.json:
            print_json({"hunt": number, "found": found, "text": text})
        else:
            write(f"{text}\n")
        return 0 if found else 1
    file, kind = hunt_file(Path(options.dir), number), find_bug(number).kind
    if options.json:
        print_json({"hunt": number, "hunts": len(all_bugs()), "kind": kind, "file": str(file)})
        return 0
    write(
        f"{file} is a small {kind.removesuffix('s')} with one bug. See what it does:\n"
        f"    {SHOWN_BY[kind]} {file}\n"
        f"Then say where it is:\n"
        f"    minillm exercise bughunt {number} --answer FUNCTION:LINE\n"
    )
    return 0
