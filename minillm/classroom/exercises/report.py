"""Reports: a verdict as a person reads it, on a terminal of 80 columns or in a file.

What the learner's code said or printed is shown with `safe`, since it may hold any character.
"""

from collections.abc import Iterator
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from minillm.classroom.exercises.checker import Verdict
from minillm.support.printable import safe

HEADINGS = {
    "not started": "not started yet",
    "import": "the file does not load",
    "name": "the function is missing",
    "error": "it raises an exception",
    "time": "it takes too long",
    "output": "it prints too much",
    "ended": "it ends the process",
    "forbidden": "it tries something that is not allowed here",
    "unreadable": "its result cannot be read",
    "none": "it returns nothing",
    "type": "it returns another kind of thing",
    "dtype": "the dtype is another",
    "shape": "the shape is another",
    "value": "the numbers are others",
    "inputs": "it changes its inputs",
    "property": "a property is broken",
}
LONGEST_OUTPUT = 400  # characters of what was printed that are shown


def verdict_lines(verdict: Verdict) -> Iterator[Any]:
    """What `show` prints: a heading, and, if it failed, why."""
    yield heading(verdict)
    if verdict.passed or verdict.stage == "not started":
        return
    where = f" (line {verdict.line} of your file)" if verdict.line else ""
    yield _indented(f"{verdict.message}{where}")
    if verdict.rows:
        yield Padding(_slice(verdict), (0, 0, 0, 4))
    if verdict.property_broken:
        yield _indented(f"Not true any more: {verdict.property_broken}")
    if verdict.example:
        yield _indented(f"Smallest example: {verdict.example}")
    if verdict.meaning:
        yield _indented(f"What that usually means: {verdict.meaning}")
    if verdict.output:
        yield _indented(f"It printed: {verdict.output[:LONGEST_OUTPUT].rstrip()}")


def verdict_text(verdict: Verdict) -> str:
    """The same as plain text, for pytest."""
    from rich.console import Console

    console = Console(width=80, color_system=None, highlight=False, markup=False, force_terminal=False)
    with console.capture() as drawn:
        console.print(*verdict_lines(verdict), overflow="fold", sep="\n")
    return drawn.get()


def heading(verdict: Verdict) -> Text:
    """One line: which exercise, and how it went."""
    if verdict.passed:
        return Text.assemble((verdict.exercise, "bold"), ": ", ("passed", "green"), f", {verdict.cases} cases")
    if verdict.stage == "not started":
        return Text.assemble((verdict.exercise, "bold"), ": not started yet")
    case = f" at case {verdict.cases_passed + 1} of {verdict.cases}" if verdict.cases else ""
    return Text.assemble((verdict.exercise, "bold"), ": ", ("failed", "red"), f"{case}: {HEADINGS[verdict.stage]}")


def _indented(text: str) -> Padding:
    return Padding(Text(safe(text)), (0, 0, 0, 2))


def _slice(verdict: Verdict) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("at", "yours", "expected"):
        table.add_column(name, overflow="fold", justify="left" if name == "at" else "right")
    for row in verdict.rows:
        table.add_row(*(Text(safe(cell)) for cell in row))
    return table
