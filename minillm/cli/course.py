"""`minillm course`: check every exercise and every lesson, and build what a teacher hands out."""

import argparse
import secrets
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from minillm.cli.printing import print_json, seconds_text, write
from minillm.support.wording import counted

COURSE = "course.toml"


def add_parser(commands: Any) -> None:
    """Add `course` with its actions `check` and `build`."""
    parser = commands.add_parser(
        "course",
        help="check the course, or build what you hand out (for teachers)",
        description="Check the course, or build what you hand out.",
    )
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="check every stub, solution, planted bug and lesson",
        description="Check that stubs fail, solutions pass, each planted bug gets its own message and all lessons run.",
    )
    check.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    check.set_defaults(run=run)
    build = actions.add_parser(
        "build",
        help="build the learners' zip and the autograders",
        description="Build the learners' zip, autograders for Gradescope, Classroom 50 and GitHub, and their pages.",
    )
    build.add_argument("--out", metavar="DIR", required=True, help="a new folder")
    build.add_argument("--only", metavar="N-M", help="the exercises that count, such as 1-12 (default: as in --course)")
    build.add_argument("--due", metavar="TIME", help="the due date, such as 2026-12-10T23:59:00+01:00")
    build.add_argument("--course", metavar="FILE", help="a course.toml with points and late rule")
    build.add_argument("--learners", metavar="FILE", help="who takes part, one name a line")
    build.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    build.set_defaults(run=run_build)


def run_build(options: argparse.Namespace) -> int:
    """Build everything into a new folder."""
    from minillm.classroom.grading.build import build, read_learners
    from minillm.classroom.grading.course_file import MOST_SEED, read_course

    if options.course is None and Path(COURSE).is_file():
        sys.stderr.write(f"minillm: {COURSE} in this folder is not read; to use it, add --course {COURSE}\n")
    course = read_course(Path(options.course) if options.course else None, options.only)
    if options.due is not None:
        course = replace(course, due=_due(options.due))
    if course.seed is None:
        course = replace(course, seed=secrets.randbelow(MOST_SEED))
    if options.learners:
        course = replace(course, learners=read_learners(Path(options.learners)))
    files = build(course, Path(options.out))
    if options.json:
        print_json({"folder": options.out, "files": [str(file.relative_to(options.out)) for file in files]})
        return 0
    write("".join(f"{file}\n" for file in files))
    hunts = ", and each archive in hunts/ to its learner" if course.hunts else ""
    write(f"Hand out learner.zip{hunts}. Everything else has the solutions. Keep course.toml: it has the seed.\n")
    return 0


def _due(text: str) -> datetime:
    try:
        due = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--due is {text[:40]!r}; expected a time such as 2026-12-10T23:59:00+01:00") from None
    return due if due.tzinfo else due.replace(tzinfo=UTC)


def run(options: argparse.Namespace) -> int:
    """Check all parts, and return 1 if a part has a problem."""
    from minillm.classroom.exercises.course import Part, check_course

    def report(part: Part) -> None:
        if not options.json:
            write("".join(f"{part.name}: {problem}\n" for problem in part.problems) or f"{part.name}: ok\n")

    began = perf_counter()
    parts = check_course(report)
    seconds, wrong = perf_counter() - began, [part for part in parts if part.problems]
    if options.json:
        print_json({"seconds": seconds, "wrong": len(wrong), "parts": [asdict(part) for part in parts]})
    else:
        write(f"{counted(len(parts), 'part')}, {len(wrong)} with problems, in {seconds_text(seconds)}\n")
    return 1 if wrong else 0
