"""Reports: show a verdict on a terminal of 80 columns or in a file.

Text from the learner's code is escaped with `safe`, because it may contain control characters.
"""

from collections.abc import Iterator
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from minillm.classroom.exercises.checker import Verdict
from minillm.support.printable import safe
from minillm.support.wording import counted

NOT_TRIED = {"not started": "not started yet", "missing": "there is no file"}
HEADINGS = {
    "file": "the file cannot be read",
    "import": "the file cannot be loaded",
    "name": "the function is missing",
    "error": "an exception was raised",
    "time": "it takes too much time",
    "output": "it prints too many characters",
    "ended": "the process ended",
    "forbidden": "forbidden operation",
    "unreadable": "the result cannot be read",
    "none": "the function returns None",
    "type": "wrong type",
    "dtype": "wrong dtype",
    "shape": "wrong shape",
    "value": "the values differ",
    "inputs": "the inputs were changed",
    "property": "a property is violated",
}
LONGEST_OUTPUT = 400  # printed characters that are shown


def verdict_lines(verdict: Verdict) -> Iterator[Any]:
    """Yield what `show` prints: a heading and, for a failure, the reasons."""
    yield heading(verdict)
    if verdict.passed or verdict.stage in NOT_TRIED:
        return
    where = f" (line {verdict.line} of your file)" if verdict.line else ""
    yield _indented(f"{verdict.message}{where}")
    if verdict.whole:
        yield _indented("Your whole result, next to the expected one:")
    if rows := verdict.whole or verdict.rows:
        yield Padding(_table(rows), (0, 0, 0, 4))
    if verdict.property_broken:
        yield _indented(f"Property violated: {verdict.property_broken}")
    if verdict.example:
        yield _indented(f"Smallest failing input: {verdict.example}")
    if verdict.meaning:
        yield _indented(f"Likely cause: {verdict.meaning}")
    if verdict.seed is not None:
        again = f"minillm exercise check {int(verdict.exercise[:2])} --seed {verdict.seed}"
        yield _indented(f"This is a random case. To repeat it: {again}")
    if verdict.output:
        yield _indented(f"Your code printed: {verdict.output[:LONGEST_OUTPUT].rstrip()}")


def verdict_text(verdict: Verdict) -> str:
    """Return the same as plain text, for pytest."""
    from rich.console import Console

    console = Console(width=80, color_system=None, highlight=False, markup=False, force_terminal=False)
    with console.capture() as drawn:
        console.print(*verdict_lines(verdict), overflow="fold", sep="\n")
    return drawn.get()


def heading(verdict: Verdict) -> Text:
    """Return one line with the exercise and its result."""
    if verdict.passed:
        cases = counted(verdict.cases, "case")
        return Text.assemble((verdict.exercise, "bold"), ": ", ("passed", "green"), f", {cases}")
    if verdict.stage in NOT_TRIED:
        return Text.assemble((verdict.exercise, "bold"), f": {NOT_TRIED[verdict.stage]}")
    case = f" at case {verdict.cases_passed + 1} of {verdict.cases}" if verdict.cases else ""
    return Text.assemble((verdict.exercise, "bold"), ": ", ("failed", "red"), f"{case}: {HEADINGS[verdict.stage]}")


def _indented(text: str) -> Padding:
    return Padding(Text(safe(text)), (0, 0, 0, 2))


def _table(rows: tuple[tuple[str, ...], ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("at", "yours", "expected", ""):
        table.add_column(name, overflow="fold", justify="right" if name in ("yours", "expected") else "left")
    for row in rows:
        table.add_row(*(Text(safe(cell)) for cell in row))
    return table
