"""`minillm grade`: mark the submissions of a class, or one submission inside a learning platform.

Exit status: 0 graded, with any marks; 2 invalid input, or a lower isolation level than required.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from minillm.cli.printing import print_json, show, write
from minillm.support.printable import safe
from minillm.support.terminal import terminal_width
from minillm.support.wording import counted

LEVELS = ("L0", "L1")  # minillm cannot see from inside how good a container is, so there is no L2 to require
MOST_JOBS = 64
ALL_COLUMNS = 72  # width of a terminal that shows every column of the table


def add_parser(commands: Any) -> None:
    """Add `grade`."""
    parser = commands.add_parser(
        "grade",
        help="mark the submissions of a class (for teachers)",
        description="Mark the submissions of a class: a folder with one folder, .zip, .ipynb or .py file a learner.",
    )
    parser.add_argument("submissions", metavar="SUBMISSIONS", help="the folder with the submissions")
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="the folder for the results; an earlier grading in it continues"
    )
    parser.add_argument("--course", metavar="FILE", help="a course.toml with points, due date and late rule")
    parser.add_argument(
        "--only", metavar="N-M", help="the exercises that count, such as 1-12 (default: as in --course)"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="learners graded at the same time (default 2)")
    parser.add_argument(
        "--seed", type=int, metavar="SEED", help="seed of the hidden cases (default: a new one, stored)"
    )
    parser.add_argument("--require", default="L0", metavar="LEVEL", help="lowest isolation level: L0 (default) or L1")
    parser.add_argument("--one", metavar="NAME", help="SUBMISSIONS is the submission of this one learner")
    parser.add_argument("--handed-in", metavar="TIME", help="with --one: when, such as 2026-12-10T23:59:00+01:00")
    parser.add_argument("--gradescope", action="store_true", help="also write results for Gradescope")
    parser.add_argument("--classroom50", metavar="FILE", help="with --one: write the result for Classroom 50")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Grade, write the results, and print a table."""
    from minillm.classroom.grading.course_file import read_course
    from minillm.classroom.grading.grade import grade_class, sources_of
    from minillm.classroom.grading.report import LEARNERS, seed_of_folder, write_learner, write_tables
    from minillm.support.progress import progress_on_stderr

    _check(options)
    course = read_course(Path(options.course) if options.course else None, options.only)
    folder, submissions, level = Path(options.out), _submissions(options, course.learners), _level(options)
    (folder / LEARNERS).mkdir(parents=True, exist_ok=True)
    seed = seed_of_folder(folder, course.seed if options.seed is None else options.seed)
    with progress_on_stderr() as progress:

        def report(result: Any, done: int) -> None:
            write_learner(folder, result, options.gradescope)
            progress(f"graded {result.learner[:30]}", done, len(submissions))

        progress("grading", 0, len(submissions))
        results = grade_class(submissions, course, seed, folder / LEARNERS, options.jobs, options.require, report)
    write_tables(folder, results, sources_of(submissions, course))
    if options.classroom50:
        _write_classroom50(Path(options.classroom50), results[0])
    _print(options, results, level, seed)
    return 0


def _check(options: argparse.Namespace) -> None:
    from minillm.support.checks import check_choice, check_integer

    check_integer("--jobs", options.jobs, 1, MOST_JOBS)
    if options.require == "L2":
        raise ValueError("L2 is a container of yours, which minillm cannot check from inside; see docs/teaching.md")
    check_choice("--require", options.require, LEVELS)
    if options.seed is not None:
        check_integer("--seed", options.seed, 0)
    for name in ("handed_in", "classroom50"):
        if getattr(options, name) is not None and options.one is None:
            raise ValueError(f"--{name.replace('_', '-')} is about one submission; add --one NAME")


def _level(options: argparse.Namespace) -> str:
    """Return the isolation level of this system, or raise ValueError if it is lower than required."""
    from minillm.classroom.worker.start import isolation_level

    level = isolation_level()
    if level < options.require:
        raise ValueError(f"this system has isolation level {level}; {options.require} is required (docs/teaching.md)")
    return level


def _submissions(options: argparse.Namespace, learners: tuple[str, ...]) -> list[Any]:
    from minillm.classroom.grading.submissions import find_submissions, one_submission, parsed_time

    if options.one is None:
        return find_submissions(Path(options.submissions), Path(options.out), learners)
    if not os.path.lexists(options.submissions):
        raise ValueError(f"there is no file or folder {options.submissions}")
    time = None if options.handed_in is None else parsed_time(options.handed_in)
    return [one_submission(Path(options.submissions), options.one, time)]


def _write_classroom50(file: Path, result: Any) -> None:
    from minillm.classroom.grading.formats.classroom50 import classroom50
    from minillm.support.state_file import write_whole

    write_whole(file, json.dumps(classroom50(result, os.environ), indent=1) + "\n")


def _print(options: argparse.Namespace, results: list[Any], level: str, seed: int) -> None:
    if options.json:
        records = [
            {"learner": one.learner, "score": one.score, "out_of": one.out_of, "file": f"{one.file}.json"}
            for one in results
        ]
        print_json({"isolation": level, "seed": seed, "learners": records})
        return
    show(_table(results))
    mean = sum(one.score for one in results) / len(results)
    write(f"{counted(len(results), 'learner')}, mean {mean:.2f} of {results[0].out_of:g}\n")
    write(f"isolation {level}, seed {seed}\n")
    write(f"{options.out}: grades.csv, junit.xml, integrity.md, and a page for each learner in learners/\n")
    if level == "L0":
        sys.stderr.write(
            "minillm: isolation L0: limits only; see docs/teaching.md before you grade code of strangers\n"
        )


def _table(results: list[Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    headings = ["learner", "score", "of", "days late", "passed", "notes"]
    headings = headings if terminal_width() >= ALL_COLUMNS else headings[:3]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="left" if heading == "learner" else "right")
    for one in results:
        passed = f"{sum(row.passed for row in one.rows)} of {len(one.rows)}"
        cells = (one.learner, f"{one.score:g}", f"{one.out_of:g}", str(one.days_late), passed, str(len(one.notes)))
        table.add_row(*(Text(safe(cell)) for cell in cells[: len(headings)]))
    return table
