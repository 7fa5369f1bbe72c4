"""`minillm exercise bughunt`: write an engine or an estimate with one planted bug, and judge the learner's answer."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from minillm.cli.printing import print_json, say_damaged, say_unsaved, there, write
from minillm.support.wording import failure_text


def add_parser(actions: Any) -> None:
    """Add `bughunt` to the actions of `minillm exercise`."""
    parser = actions.add_parser(
        "bughunt",
        help="find a planted bug",
        description="Find the line of a planted bug in a small engine or, for later numbers, in a cost estimate.",
    )
    parser.add_argument("which", metavar="N", nargs="?", help="number of the bug (default: the next that is not found)")
    parser.add_argument("--answer", metavar="FUNCTION:LINE", help="where you think the bug is")
    parser.add_argument("--dir", default=".", metavar="DIR", help="the folder for the file (default: this folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the file of a bug, or judge an answer. Return 1 if the answer is wrong."""
    from minillm.classroom.exercises.bughunt import all_bugs, damaged_hunts, next_bug

    folder = Path(options.dir)
    say_damaged(damaged_hunts(folder))
    number = next_bug(folder) if options.which is None else _bug_number(options.which)
    if number is None:
        text = f"All {len(all_bugs())} bugs are found. To see one again: minillm exercise bughunt N"
        print_json({"hunt": None, "hunts": len(all_bugs()), "text": text}) if options.json else write(f"{text}\n")
        return 0
    if options.answer is not None:
        return _judge_answer(folder, number, options)
    return _write_hunt(folder, number, options)


def _bug_number(which: str) -> int:
    from minillm.classroom.exercises.bughunt import all_bugs
    from minillm.support.checks import check_integer

    if not which.isdecimal():
        raise ValueError(f"there is no bug {which[:40]!r}; expected a number from 1 to {len(all_bugs())}")
    return check_integer("N", int(which), 1, len(all_bugs()))


def _judge_answer(folder: Path, number: int, options: argparse.Namespace) -> int:
    from minillm.classroom.exercises.bughunt import all_bugs, answer, found_bugs, note_found

    found, text = answer(number, options.answer)
    if found:
        try:
            note_found(folder, number)
        except OSError as problem:
            say_unsaved(failure_text(problem))
        next_one = f"minillm exercise bughunt{there(options)}"
        text += f"\n{len(found_bugs(folder))} of {len(all_bugs())} bugs found. The next: {next_one}"
    if options.json:
        print_json({"hunt": number, "found": found, "text": text})
    else:
        write(f"Bug {number}: {text}\n")
    return 0 if found else 1


def _write_hunt(folder: Path, number: int, options: argparse.Namespace) -> int:
    from minillm.classroom.exercises.bughunt import SHOWN_BY, all_bugs, find_bug, hunt_file

    file, kind = hunt_file(folder, number), find_bug(number).kind
    if options.json:
        print_json({"hunt": number, "hunts": len(all_bugs()), "kind": kind, "file": str(file)})
        return 0
    write(
        f"Bug {number} of {len(all_bugs())}: {file} is a small {kind.removesuffix('s')} with one bug. "
        "To see what it does:\n"
        f"    {SHOWN_BY[kind]} {shlex.quote(str(file))}\n"
        f"To say where the bug is:\n"
        f"    minillm exercise bughunt {number}{there(options)} --answer FUNCTION:LINE\n"
    )
    return 0
