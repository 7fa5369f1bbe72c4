"""`minillm course check`: whether every exercise and lesson does what it is there for."""

import argparse
from dataclasses import asdict
from time import perf_counter
from typing import Any

from minillm.cli.printing import counted, print_json, seconds_text, write


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("course", help="for teachers", description="The course as a whole.")
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="try every stub, solution, bug and lesson",
        description="Stubs fail, solutions pass, each planted bug is caught with a message of its own, lessons run.",
    )
    check.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check everything; 1 if something is wrong."""
    from minillm.classroom.exercises.course import Part, check_course

    def report(part: Part) -> None:
        if not options.json:
            write("".join(f"{part.name}: {problem}\n" for problem in part.problems) or f"{part.name}: well\n")

    began = perf_counter()
    parts = check_course(report)
    seconds, wrong = perf_counter() - began, [part for part in parts if part.problems]
    if options.json:
        print_json({"seconds": seconds, "wrong": len(wrong), "parts": [asdict(part) for part in parts]})
    else:
        write(f"{counted(len(parts), 'part')}, {len(wrong)} of them with problems, in {seconds_text(seconds)}\n")
    return 1 if wrong else 0
