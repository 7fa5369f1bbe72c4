"""A schedule as a trace: the reader accepts it, and it has the passes that are observed, whatever the schedule."""

import json

from golden_model import TOKENS, golden_model
from hypothesis import example, given, settings

from minillm.bisection.local import observe
from minillm.bisection.observed import NOTHING
from minillm.bisection.recorded import recorded
from minillm.bisection.schedule import parse
from minillm.bisection.strategies import schedules
from minillm.trace.reader import parsed

PROMPT, TOKENS = 6, TOKENS[:10]
MODEL = golden_model()


@settings(max_examples=20)
@example(schedule=parse("fork, block 1"))
@example(schedule=parse("prefill 1+3, decode 6, fork"))
@example(schedule=parse("fork, guess 1, preempt, preempt, guess 2, copy 0, prefill 3, preempt, guess 2, batch 1"))
@example(schedule=parse("prefill 3+7, swap, block 1"))
@given(schedule=schedules(PROMPT, len(TOKENS)))
def test_the_steps_are_the_passes_that_are_observed(schedule):
    trace = recorded(MODEL, schedule, TOKENS, PROMPT)
    lines = [trace.header, *trace.lines]
    assert parsed("".join(json.dumps(line) + "\n" for line in lines).encode(), "a trace").lines == trace.lines
    passes = [line["rows"] for line in trace.lines if line["t"] == "pass"]
    told = [[(row["first"], row["count"]) for row in rows if row["id"] is not None] for rows in passes]
    observed = observe(MODEL, schedule, TOKENS, PROMPT, NOTHING).passes
    spans = [
        [(first, count) for number, first, count in parts if not (schedule.naive and number)] for parts in observed
    ]
    if schedule.naive:  # a trace counts the tokens before as well, as they run again
        spans = [[(0, first + count) for first, count in each] for each in spans]
    assert told == spans
    with_pass = [any(line["t"] == "pass" for line in step) for step in trace.states.steps]
    copied_last = schedule.operations != () and schedule.operations[-1].name in ("fork", "copy", "swap")
    assert with_pass in ([False, *[True] * len(observed)], [False, *[True] * len(observed), False])
    assert trace.finished and (copied_last or with_pass[-1])


def test_a_copy_is_a_request_that_begins_with_known_tokens():
    trace = recorded(MODEL, parse("prefill 4, fork, decode 1, copy 2, block 2"), TOKENS, PROMPT)
    admitted = [(line["s"], line["id"], line["known"]) for line in trace.lines if line["t"] == "admit"]
    assert admitted == [(1, 0, 0), (2, 1, 4), (4, 2, 2)]
    shared = [(line["table"], line["from"]) for line in trace.lines if line.get("do") == "share"]
    assert shared == [(1, 0), (2, 1)]
    assert [trace.states.last["tables"][table]["length"] for table in (0, 1, 2)] == [4, 5, len(TOKENS)]


def test_a_preempted_sequence_gives_its_blocks_back_and_is_recomputed():
    trace = recorded(MODEL, parse("prefill 4, preempt, block 2"), TOKENS, PROMPT)
    steps = trace.states.steps
    assert {line.get("do", line["t"]) for line in steps[2]} >= {"release", "preempt", "admit", "take", "pass"}
    assert [row["phase"] for line in steps[2] if line["t"] == "pass" for row in line["rows"]] == ["recompute"]
