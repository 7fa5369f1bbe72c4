"""`minillm exercise check`: check one exercise, or all of a folder, and show what is wrong."""

import argparse
import os
import sys
from dataclasses import asdict, replace
from typing import Any

from minillm.cli.exercise_folder import find, note, open_folder
from minillm.cli.printing import print_json, show, there, write


def check(options: argparse.Namespace) -> int:
    """Check the exercise that is named, or all of the folder. Return 1 if one is not passed."""
    from minillm.classroom.worker.worker import Worker
    from minillm.support.checks import check_integer

    if options.seed is not None:
        check_integer("--seed", options.seed, 0)
    workspace, verdicts = open_folder(options), []
    with Worker() as worker:
        for exercise in [find(options)] if options.which else workspace.exercises:
            check_it = check_one if options.which else _check_any
            verdicts.append(check_it(workspace, exercise, worker, options.seed))
            if not options.json:
                show_verdict(verdicts, options, one=bool(options.which))
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
    return check_one(workspace, exercise, worker, seed)


def check_one(workspace: Any, exercise: Any, worker: Any, seed: int | None = None) -> Any:
    """Check one exercise and note the result; one that is not started does not count as an attempt."""
    from minillm.classroom.exercises.checker import check_apart

    verdict = check_apart(exercise, workspace.source(exercise), worker, seed)
    tried = verdict.stage != "not started"
    note(workspace, exercise, lambda own: replace(own, passed=verdict.passed, attempts=own.attempts + tried))
    return verdict


def show_verdict(verdicts: list[Any], options: argparse.Namespace, one: bool, stuck: str = "") -> None:
    """Print the last verdict: in full, unless an earlier one has failed.

    Args:
        verdicts: all so far.
        options: of the command; they name the folder.
        one: whether a command follows that gives a hint or shows the solution.
        stuck: how to get a hint, if not with this command.
    """
    from minillm.classroom.exercises.report import heading, verdict_lines

    *before, verdict = verdicts
    failed_before = any(v.stage not in ("", "not started") for v in before)
    show(*([heading(verdict)] if failed_before else verdict_lines(verdict)))
    if one and not verdict.passed:
        command = f"minillm exercise hint {int(verdict.exercise[:2])}{there(options)}"
        write(f"  Stuck? {stuck or command}\n")
    elif one:
        write(f"  Compare: minillm exercise solution {int(verdict.exercise[:2])}{there(options)}\n")
