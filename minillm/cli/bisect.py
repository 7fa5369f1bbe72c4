"""`minillm bisect`: run the same tokens in two ways, and say which operation differs first."""

import argparse
import math
from pathlib import Path
from typing import Any

from minillm.cli.options import add_model_options, check_folder_of, check_utf8
from minillm.cli.printing import print_json, show, write
from minillm.support.checks import check_integer, shown
from minillm.support.printable import one_line
from minillm.support.terminal import wrapped

NEW_TOKENS = 8
PROMPT = "Once upon a time there was a small robot who wanted to know"
HELP = """\
A and B are [SCHEDULE] [@ENGINE], or one of the two alone. What is left out is `whole`, and the backend of --backend.
A schedule can also be a file, as --save writes it: NAME.json.

A schedule is a list of operations and settings, such as "prefill 5+7, fork, block 4":
{words}
What it does not say comes last: the rest of the prompt in one pass, then each token in a pass of its own.

An engine is one of:
  numpy, plain, exact, compiled, cupy
            a backend of minillm
  FILE.py   an engine as `pytest --minillm-engine` takes it: only its logits can be compared
  FILE.py:NAME
            one of several engines in a file; a shipped adapter is named without .py
  COMMIT    such as HEAD~3, in a git checkout of minillm

examples:
  minillm bisect numpy compiled
  minillm bisect "prefill 12" "prefill 5+7"
  minillm bisect "chunk 3, block 4 @exact" @exact
  minillm bisect "chunk 3, block 4" naive --tolerance 1e-5
  minillm bisect HEAD~3 HEAD --model story --prompt "The sky is"
  minillm bisect my_engine.py minillm
  minillm bisect transformers_llama:dynamic transformers_llama:static --tolerance 1e-9

exit status: 0 equal, 1 different, 2 the runs could not be compared
"""


def add_parser(commands: Any) -> None:
    """Add `bisect`."""
    parser = commands.add_parser(
        "bisect",
        help="find the first operation in which two runs differ",
        description="Run the same tokens in two ways, and find the first operation whose results differ.",
        epilog=HELP.format(words=_words()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("a", metavar="A", help="one way to run the tokens; its greedy tokens come after the prompt")
    add("b", metavar="B", help="the other way")
    add("--prompt", metavar="TEXT", help="a text to continue (default: one about a robot)")
    add("--tokens", metavar="IDS", help="instead, the token ids of the prompt, such as 5,6,7")
    add("--answer", metavar="TEXT", help="the text after the prompt, instead of A's greedy tokens")
    add("--max-new-tokens", type=int, default=NEW_TOKENS, metavar="N", help=f"of A's (default {NEW_TOKENS})")
    add(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="T",
        help="the relative difference up to which numbers count as equal; 0 is equal to the bit (default 0)",
    )
    add("--html", metavar="FILE", help="also write the page of a trace of A, with a view of the difference")
    add("--save", nargs=2, metavar=("A.json", "B.json"), help="write both schedules, to edit and use again")
    add("--force", action="store_true", help="overwrite these files")
    add_model_options(parser)
    parser.set_defaults(run=run)


def _words() -> str:
    """Return the words of schedules, one a line."""
    from minillm.bisection.schedule import OPERATIONS, SETTINGS

    words = {"whole": "whole runs the prompt in one pass: the usual schedule"}
    words |= {name: does for name, (_, does) in OPERATIONS.items()} | SETTINGS
    return "\n".join(f"  {does}" if does.startswith(name) else f"  {name} {does}" for name, does in words.items())


def run(options: argparse.Namespace) -> int:
    """Compare, and print the report."""
    from minillm.bisection.compare import compare
    from minillm.bisection.report import lines
    from minillm.support.progress import progress_on_stderr

    question = _question(options)
    for file, side in zip(options.save or [], (question.a, question.b), strict=False):
        side.schedule.save(file)
    with progress_on_stderr() as progress:
        report = compare(question, lambda name: progress(one_line(name), 0, 1))
    try:
        if options.html is not None:
            _write_page(question, report, Path(options.html))
    finally:  # a page may be too large: the report is printed all the same
        if options.json:
            print_json(report.values())
        else:
            write("".join(f"{_folded(line)}\n" for line in lines(report)))
            _print_largest(report)
    return 0 if report.found.first is None else 1


def _question(options: argparse.Namespace) -> Any:
    """Return what is to be compared, or raise ValueError before anything is loaded."""
    from minillm.bisection.compare import Question
    from minillm.bisection.side import parse_side

    if not (math.isfinite(options.tolerance) and options.tolerance >= 0):
        raise ValueError(f"--tolerance is {options.tolerance}; expected a number of at least 0, such as 1e-5")
    if options.prompt is not None and options.tokens is not None:
        raise ValueError("--prompt and --tokens both give the prompt; expected one of them")
    prompt = PROMPT if options.prompt is None else options.prompt
    for name, text in (("--prompt", prompt), ("--answer", options.answer or "")):
        check_utf8(name, text)
    for option, file in [("--html", options.html), *(("--save", file) for file in options.save or [])]:
        if file is None:
            continue
        check_folder_of(option, file)
        if Path(file).exists() and not options.force:
            raise ValueError(f"{option}: {file} exists; add --force to overwrite it")
    return Question(
        a=parse_side(options.a, options.backend),
        b=parse_side(options.b, options.backend),
        prompt=prompt if options.tokens is None else _ids(options.tokens),
        model=options.model,
        answer=options.answer,
        new_tokens=check_integer("--max-new-tokens", options.max_new_tokens, 1),
        tolerance=options.tolerance,
        dtype=options.dtype,
        weights=options.weights,
    )


def _ids(text: str) -> list[int]:
    parts = text.replace(" ", "").split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ValueError(f"--tokens is {shown(text)}; expected token ids such as 5,6,7")
    return [int(part) for part in parts]


def _folded(line: str) -> str:
    """Return a line of the report as wide as the terminal; what is folded stands below its beginning."""
    indent = line[: len(line) - len(line.lstrip())]
    return wrapped(line, indent, indent + "   ") if line else ""


def _write_page(question: Any, report: Any, file: Path) -> None:
    from minillm.bisection.page import page
    from minillm.support.state_file import write_whole

    write_whole(file, page(question, report))


def _print_largest(report: Any) -> None:
    """Print a table of the largest difference of each operation, if there is any."""
    from rich.table import Table

    from minillm.bisection.report import operation_rows

    rows = operation_rows(report.found)
    if not rows:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("operation", "largest relative difference", "layer", "position"):
        table.add_column(heading, justify="left" if heading == "operation" else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    show("", table)
