"""The report at the end: a list for one engine, and a matrix of engines and properties for several."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from minillm.support.printable import one_line
from minillm.verification.failure import CRASHED, HUNG, WRONG
from minillm.verification.search import NOT_TESTED, PASSED, REFUSED, Result

WIDTH, CELL, MOST_IN_WORDS = 79, 14, 3  # columns of the terminal; of a cell; engines
MOST_NAMED = 4  # properties that lack the same function, and are named
COARSE = 1e-4  # of the largest difference: what one prefill differs by, where the tolerance is not that of rounding
LETTERS = {PASSED: ".", WRONG: "F", CRASHED: "C", HUNG: "H", REFUSED: "r", NOT_TESTED: "-"}
WORDS = {
    ".": "passed", "F": "wrong result", "C": "crashed", "H": "hung", "r": "every call refused", "-": "not tested",
    " ": "",
}  # fmt: skip


def report_lines(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of the report."""
    engines = list(dict.fromkeys(result.engine for result in results))
    names = list(dict.fromkeys(result.name for result in results))
    table = {(result.engine, result.name): result for result in results}
    if len(engines) == 1:
        yield from _in_lines([table[engines[0], name] for name in names])
    elif len(engines) <= MOST_IN_WORDS:
        yield from _in_words(engines, names, table)
    else:
        yield from _in_letters(engines, names, table)


def _in_lines(results: Sequence[Result]) -> Iterator[str]:
    """Yield the verdicts on the only engine. What was not tested comes last: a line for each reason."""
    for result in results:
        if result.verdict != NOT_TESTED:
            yield from _entry(result)
    not_tested = [result for result in results if result.verdict == NOT_TESTED]
    for reason in dict.fromkeys(result.summary for result in not_tested):
        names = [result.name for result in not_tested if result.summary == reason]
        listed = ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} properties"
        yield from textwrap.wrap(f"{NOT_TESTED:<11} {reason}: {listed}", WIDTH, subsequent_indent=" " * 12)
    yield from _coarse(results)


def _coarse(results: Sequence[Result]) -> Iterator[str]:
    """Yield a line if a property that passed differs by far more than one prefill does: a tolerance may hide a bug."""
    passed = {result.name: result.largest_difference for result in results if result.verdict == PASSED}
    least = passed.get("prefill_is_naive", 0.0)
    name = max(passed, key=lambda name: passed[name], default="")
    if 0 < least < COARSE * passed.get(name, 0.0):
        text = (
            f"{name} differs by {passed[name]:.0e}, and prefill_is_naive by {least:.0e}: does the tolerance hide a bug?"
        )
        yield from textwrap.wrap(f"{text} With DTYPE, it follows from rounding.", WIDTH)


def _entry(result: Result) -> Iterator[str]:
    """Yield the lines of one property of the only engine."""
    verdict = result.verdict.upper() if result.verdict in (WRONG, CRASHED, HUNG) else result.verdict
    told = one_line(f"the same cause as {result.same_as}" if result.same_as else result.summary)
    line = f"{verdict:<11} {result.name:<43} "
    if len(line) + len(told) <= WIDTH:
        yield line + told
    else:
        yield line.rstrip()
        yield from textwrap.wrap(told, WIDTH, initial_indent=" " * 12, subsequent_indent=" " * 12)


def cell(result: Result | None) -> str:
    """Return a verdict in a few characters."""
    if result is None:
        return ""
    if result.verdict == PASSED:
        return f"ok {result.largest_difference:.0e}" + (f" r{result.refused}" if result.refused else "")
    if result.verdict == NOT_TESTED:
        return result.summary
    if result.verdict == REFUSED:
        return f"refused {result.refused}"
    return "(same cause)" if result.same_as else {WRONG: "FAILED"}.get(result.verdict, result.verdict.upper())


def _in_words(engines: list[str], names: list[str], table: dict[tuple[str, str], Result]) -> Iterator[str]:
    """Yield the matrix of a few engines: one column for each."""
    first = WIDTH - CELL * len(engines)
    yield "".join([" " * first, *(f"{_cut(engine, CELL - 1):<{CELL}}" for engine in engines)]).rstrip()
    for name in names:
        cells = [f"{_cut(cell(table.get((engine, name))), CELL - 1):<{CELL}}" for engine in engines]
        yield "".join([f"{_cut(name, first - 1):<{first}}", *cells]).rstrip()
    yield ""
    yield "ok: passed; the largest difference, relative to the largest logit"
    yield "r: calls that were refused; (same cause): probably that of another failure"


def _in_letters(engines: list[str], names: list[str], table: dict[tuple[str, str], Result]) -> Iterator[str]:
    """Yield the matrix of many engines: one row for each, and a letter for each verdict. Numbers stand upright."""
    longest = min(max(map(len, engines)), WIDTH - 2 * len(names) - 10)
    numbers = range(1, len(names) + 1)
    yield " " * longest + "".join(f" {number // 10 or ' '}" for number in numbers)
    yield " " * longest + "".join(f" {number % 10}" for number in numbers) + "  largest"
    for engine in engines:
        row = [table.get((engine, name)) for name in names]
        letters = "".join(f"{LETTERS[result.verdict] if result else '':>2}" for result in row)
        largest = max((result.largest_difference for result in row if result and result.verdict == PASSED), default=0)
        yield f"{_cut(engine, longest):<{longest}}{letters}  {largest:.1e}"
    yield ""
    for number, name in enumerate(names, start=1):
        yield f"{number:>3} {name}"
    used = {LETTERS[result.verdict] for result in table.values()}
    yield ", ".join(f"{letter} {word}" for letter, word in WORDS.items() if letter in used)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 2] + ".."


def fields(result: Result) -> dict[str, Any]:
    """Return a result as a dict of numbers, texts and lists, for JSON and for pytest's reports."""
    failure = result.failure
    calls = [str(call) for call in failure.calls] if failure is not None else []
    return {
        "engine": result.engine, "property": result.name, "verdict": result.verdict, "summary": result.summary,
        "largest_difference": result.largest_difference, "refused": result.refused, "same_as": result.same_as,
        "model": failure.title if failure is not None else "", "calls": calls,
        "what": failure.what if failure is not None else "", "meaning": result.meaning,
        "is_smallest": result.is_smallest,
    }  # fmt: skip


def result_of(told: dict[str, Any]) -> Result:
    """Return the result of a dict, as far as the report needs it."""
    numbers = told["largest_difference"], told["refused"]
    return Result(told["engine"], told["property"], told["verdict"], told["summary"], *numbers, same_as=told["same_as"])


def as_json(told: Sequence[dict[str, Any]]) -> str:
    """Return the dicts of all results as JSON: a list with one for each engine and property."""
    return json.dumps(told, indent=1) + "\n"
