"""`minillm course check`: check every exercise and every lesson of the course."""

import argparse
from dataclasses import asdict
from time import perf_counter
from typing import Any

from minillm.cli.printing import print_json, seconds_text, write
from minillm.support.wording import counted


def add_parser(commands: Any) -> None:
    """Add `course` with its action `check`."""
    parser = commands.add_parser("course", help="check the course (for teachers)", description="Check the course.")
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="check every stub, solution, planted bug and lesson",
        description="Check that stubs fail, solutions pass, each planted bug gets its own message and all lessons run.",
    )
    check.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    check.set_defaults(run=run)


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
