"""A trace of a stranger is refused in one line, or each of its steps can be said, drawn and exported."""

import json
import re

import pytest
from golden_runs import HERE, NAMES

from minillm.trace.perfetto import chrome_trace
from minillm.trace.reader import parsed
from minillm.trace.terminal.frames import VIEWS, frame
from minillm.trace.words import sentences

PYTHONS_WORDS = re.compile(r"\n|not in list|unpack")  # they say nothing of the file
WRONG = (0, -1, 1, 2**53 - 1, 1e308, None, [], "", False)


def fields(value, path=()):
    """The paths of all fields of a line; of lists, of their first item."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from fields(item, (*path, key))


def with_field(line, path, value):
    changed = json.loads(json.dumps(line))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def damaged(name):
    """The first line of each kind in each golden trace, with each of its fields wrong in each way."""
    lines = list(map(json.loads, (HERE / f"{name}.jsonl").read_text().splitlines()))
    written = [json.dumps(line) + "\n" for line in lines]
    kinds = {(line["t"], line.get("do"), line.get("phase")): number for number, line in reversed([*enumerate(lines)])}
    for number in kinds.values():
        for path in fields(lines[number]):
            for value in WRONG:
                changed = json.dumps(with_field(lines[number], path, value)) + "\n"
                yield (number, path, value), "".join([*written[:number], changed, *written[number + 1 :]]).encode()


def use(trace):
    """Say, draw and export a trace: the last step, in which all is there, and the one of the first candidates."""
    sentences(trace)
    json.dumps(chrome_trace(trace), allow_nan=False)
    for view in VIEWS:
        for step in {1, len(trace.states.steps) // 2, len(trace.states.steps) - 1}:
            assert frame(trace, min(step, len(trace.states.steps) - 1), view)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_field_is_refused_or_harmless(name):
    refused = accepted = 0
    for what, content in damaged(name):
        try:
            trace = parsed(content, "run.jsonl")
        except ValueError as problem:
            assert not PYTHONS_WORDS.search(str(problem)), what
            refused += 1
            continue
        try:
            use(trace)
        except Exception as problem:
            raise AssertionError(what) from problem
        accepted += 1
    assert refused > accepted > 50
