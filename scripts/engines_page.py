"""The page docs/results/engine-matrix.md, which is written from the stored results of `scripts/engines.py`."""

from collections.abc import Iterator

from minillm.support.wording import counted
from minillm.verification.properties import EXAMPLES, PROPERTIES
from minillm.verification.search import FAILURES, NOT_TESTED, PASSED, REFUSED

INTRODUCTION = """\
# Engines and properties

The adapters of `minillm/verification/adapters`, on transformers 5.24.0 (PyTorch 2.13.0), and on llama.cpp of
llama-cpp-python 0.3.36. All on a CPU, with tiny random models. [What the properties found](engines.md) says what the
failures mean.

This page is generated. `python scripts/engines.py transformers_llama` runs an adapter, and stores the results of each
engine in `engine-matrix.jsonl`, next to this page.

In a matrix, each line is an engine, and each column a property: their names are at the end. `.` is passed, `r` refused,
**F** wrong, **C** crashed, **H** hung. A field is empty if the engine lacks the functions. `largest` is the largest
difference of all passed properties, relative to the largest logit. Fewer than 60 examples are a shorter search than
that of pytest, and find less.
"""
LETTERS = {PASSED: ".", REFUSED: "r", NOT_TESTED: "", "wrong": "**F**", "crashed": "**C**", "hung": "**H**"}
MOST_LINES = 10  # of a matrix
Rows = dict[tuple[str, str], dict]


def page(rows: Rows) -> str:
    """Return the page in Markdown."""
    adapters = list(dict.fromkeys(adapter for adapter, _ in rows))
    parts = [INTRODUCTION, *(line for adapter in adapters for line in section(adapter, rows))]
    return "\n".join([*parts, *failures(rows), *names()]) + "\n"


def section(adapter: str, rows: Rows) -> Iterator[str]:
    """Yield the matrix of an adapter. Of many engines, only those with a failure have a line of their own."""
    engines = {engine: one for (of, engine), one in rows.items() if of == adapter}
    yield f"## {adapter}: {counted(len(engines), 'engine')}\n"
    is_long = len(engines) > MOST_LINES
    shown = {engine: one for engine, one in engines.items() if not is_long or has_failed(one)}
    if shown:
        yield from matrix(shown)
    if is_long:
        yield from the_others({engine: one for engine, one in engines.items() if engine not in shown})
    yield ""


def matrix(engines: dict[str, dict]) -> Iterator[str]:
    """Yield a table with a line for each engine."""
    names = [name for name in PROPERTIES if any(verdict(one, name) != NOT_TESTED for one in engines.values())]
    numbers = [str(list(PROPERTIES).index(name) + 1) for name in names]
    yield f"| engine | {' | '.join(numbers)} | largest | examples |\n|{'---|' * (len(numbers) + 3)}"
    for engine, one in engines.items():
        cells = " | ".join(LETTERS[verdict(one, name)] for name in names)
        yield f"| `{engine}` | {cells} | {largest(one):.0e} | {examples(one)} |"


def the_others(engines: dict[str, dict]) -> Iterator[str]:
    """Yield the names of the engines that passed what was tested, and how many refused all."""
    right = [engine for engine, one in engines.items() if any(told["verdict"] == PASSED for told in one["results"])]
    counts = ", ".join(sorted({str(examples(one)) for one in engines.values()}))
    yield f"\nWithout a failure in {counts} examples of each property: {', '.join(right)}."
    if refusing := len(engines) - len(right):
        yield f"\nThe other {'one' if refusing == 1 else refusing} refused every call."


def verdict(row: dict, name: str) -> str:
    """Return the verdict of an engine on a property."""
    return next((one["verdict"] for one in row["results"] if one["property"] == name), NOT_TESTED)


def examples(row: dict) -> int:
    """Return how many examples of each property were tried, but for those of sampling."""
    return row["examples"] or EXAMPLES


def has_failed(row: dict) -> bool:
    """Return whether a property failed."""
    return any(one["verdict"] in FAILURES for one in row["results"])


def largest(row: dict) -> float:
    """Return the largest difference of a passed property."""
    return max((one.get("largest_difference", 0.0) for one in row["results"] if one["verdict"] == PASSED), default=0.0)


def failures(rows: Rows) -> Iterator[str]:
    """Yield each cause of a failure once, with its calls."""
    yield "## The failures\n"
    for (adapter, engine), row in rows.items():
        for one in row["results"]:
            if one["verdict"] in FAILURES and "same_as" not in one:
                yield f"`{adapter}`, `{engine}`: {one['property']} is {one['verdict']}.\n"
                calls = [*one.get("calls", ()), f"# {one['what'].splitlines()[0]}"]
                yield "\n".join(["```text", *filter(None, [one.get("model")]), *calls, "```\n"])


def names() -> Iterator[str]:
    """Yield the number and the sentence of each property."""
    yield "## The properties\n"
    for number, (name, tried) in enumerate(PROPERTIES.items(), start=1):
        yield f"{number}. `{name}`: {tried.sentence}"
