"""Schedules as values: a line and back, a file and back, what they refuse, and which passes they make."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.bisection.schedule import OPERATIONS, SETTINGS, Operation, Schedule, parse, plan, read
from minillm.bisection.side import parse_side
from minillm.bisection.strategies import schedules


@st.composite
def any_schedules(draw):
    prompt = draw(st.integers(1, 12))
    schedule = draw(schedules(prompt, prompt + draw(st.integers(0, 6))))
    return replace(schedule, cache_dtype=draw(st.sampled_from([None, "int8"])) if not schedule.naive else None)


@given(any_schedules())
def test_the_line_of_a_schedule_is_the_schedule(schedule):
    assert parse(str(schedule)) == schedule


@given(schedule=any_schedules())
def test_a_saved_schedule_is_the_schedule(schedule, tmp_path_factory):
    file = tmp_path_factory.mktemp("saved") / "schedule.json"
    schedule.save(file)
    assert read(file) == schedule


@given(data=st.data(), prompt=st.integers(1, 12), after=st.integers(0, 6))
def test_a_plan_runs_every_token_after_those_before_it(data, prompt, after):
    schedule = data.draw(schedules(prompt, prompt + after))
    length = 0
    for step in plan(schedule, prompt, prompt + after):
        assert step.do == "free" or step.first <= length
        if step.do == "run":
            assert step.first == length and step.tokens >= 1
        length = {"run": length + step.tokens, "truncate": step.first, "copy": step.first, "free": 0}.get(
            step.do, length
        )
    assert length == prompt + after


def test_every_word_is_drawn_by_the_strategy():
    seen = set()

    @settings(max_examples=80, derandomize=True)
    @given(schedules(6, 9))
    def draw(schedule):
        seen.update({operation.name for operation in schedule.operations})
        seen.update(word.split()[0] for word in str(schedule).split(", "))

    draw()
    assert seen >= {*OPERATIONS, *SETTINGS, "whole"} - {"int8"}


@pytest.mark.parametrize(
    "line, passes",
    [
        ("whole", [(0, 5), (5, 1), (6, 1)]),
        ("prefill 2+3", [(0, 2), (2, 3), (5, 1), (6, 1)]),
        ("prefill 2", [(0, 2), (2, 3), (5, 1), (6, 1)]),
        ("prefill 6", [(0, 6), (6, 1)]),
        ("chunk 2", [(0, 2), (2, 2), (4, 1), (5, 1), (6, 1)]),
        ("decode", [(n, 1) for n in range(7)]),
        ("decode 2, prefill", [(0, 1), (1, 1), (2, 3), (5, 1), (6, 1)]),
        ("prefill, truncate 3, decode 1", [(0, 5), (3, 1), (4, 1), (5, 1), (6, 1)]),
        ("prefill, copy 3, decode 1", [(0, 5), (3, 1), (4, 1), (5, 1), (6, 1)]),
        ("prefill, preempt", [(0, 5), (0, 5), (5, 1), (6, 1)]),
        ("prefill, decode, truncate 0", [(0, 5), (5, 1), (6, 1), (0, 5), (5, 1), (6, 1)]),
    ],
)
def test_passes(line, passes):
    steps = plan(parse(line), prompt_tokens=5, tokens=7)
    assert [(step.first, step.tokens) for step in steps if step.do == "run"] == passes


def test_spaces_and_the_order_of_settings_do_not_matter():
    expected = Schedule((Operation("prefill", (5, 7)), Operation("fork")), block_size=4, others=2)
    assert parse("  block 4,prefill 5 + 7 ,  batch 2, fork") == expected
    assert parse("whole, block 4") == Schedule(block_size=4)


@pytest.mark.parametrize(
    "line, said",
    [
        ("", "is not a word of a schedule; expected one of whole, prefill,"),
        ("prefill 3,", "is not a word of a schedule"),
        ("refill 3", "'refill' is not a word of a schedule"),
        ("prefill x", "'prefill x' has a wrong number"),
        ("prefill -3", "has a wrong number"),
        ("prefill 0", "prefill is 0; expected an integer from 1"),
        ("prefill ٣", "has a wrong number"),
        ("chunk", "chunk has 0 numbers; expected: chunk 3 runs"),
        ("chunk 3+4", "has 2 numbers"),
        ("fork 2", "fork 2 has 1 number"),
        ("truncate 99999999999", "has a wrong number"),
        ("block", "block has 0 numbers; expected: block 4"),
        ("block 0", "block is 0"),
        ("block 2, block 3", "block occurs twice"),
        ("int8 4", "int8 has 1 number"),
        ("whole, chunk 3", "whole is the schedule without operations"),
        ("naive, fork", "naive has no cache"),
        ("naive, block 3", "naive has no cache"),
    ],
)
def test_a_wrong_line_is_refused(line, said):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as problem:
        parse(line)
    assert said in str(problem.value)


@pytest.mark.parametrize(
    "line, said",
    [
        ("prefill 5+7", "prefill 5+7 runs more tokens than there are: 5 tokens of the prompt and 2 after it"),
        ("decode 8", "more tokens than there are"),
        ("prefill, chunk 2", "chunk 2: the whole prompt, 5 tokens, has run before"),
        ("prefill, prefill", "has run before"),
        ("prefill 3, truncate 4", "truncate 4: the cache holds 3 tokens"),
        ("swap, block 2", "swap: the cache is empty"),
        ("prefill 3, copy 4", "copy 4: the cache holds 3 tokens"),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused(line, said):
    with pytest.raises(ValueError) as problem:
        plan(parse(line), prompt_tokens=5, tokens=7)
    assert said in str(problem.value)


GOOD = {"format": "minillm schedule 1", "operations": ["prefill 5+7", "fork"], "block_size": 4}


def test_a_file_that_a_person_edited(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(GOOD))
    assert str(read(tmp_path / "s.json")) == "prefill 5+7, fork, block 4"


@pytest.mark.parametrize(
    "change, said",
    [
        ([], 'expected a JSON object with "format": "minillm schedule 1"'),
        ({"format": "other"}, 'expected a JSON object with "format"'),
        (GOOD | {"blocks": 4}, "'blocks' is not a field of a schedule; expected operations, block_size,"),
        (GOOD | {"operations": "fork"}, 'expected a list such as ["prefill 5+7"]'),
        (GOOD | {"operations": [5]}, "expected a list such as"),
        (GOOD | {"operations": ["block 4"]}, "the operation is 'block'; expected one of prefill"),
        (GOOD | {"operations": [""]}, "the operation is ''"),
        (GOOD | {"operations": ["fork"] * 1001}, "at most 1000"),
        (GOOD | {"block_size": "4"}, "block is '4'; expected an integer"),
        (GOOD | {"block_size": True}, "block is True"),
        (GOOD | {"others": None}, "batch is None"),
        (GOOD | {"naive": 1}, "naive is 1; expected True or False"),
        (GOOD | {"cache_dtype": "int4"}, "expected one of int8"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, change, said):
    (tmp_path / "s.json").write_text(json.dumps(change))
    with pytest.raises(ValueError, match=r"^s\.json: [^\n]*$") as problem:
        read(tmp_path / "s.json")
    assert said in str(problem.value)


@pytest.mark.parametrize(
    "text, schedule, kind, engine",
    [
        ("numpy", "whole", "backend", "numpy"),
        ("@numpy", "whole", "backend", "numpy"),
        ("minillm", "whole", "backend", "plain"),
        ("chunk 3, block 4", "chunk 3, block 4", "backend", "plain"),
        ("chunk 3 @ exact", "chunk 3", "backend", "exact"),
        ("my_engine.py", "whole", "file", "my_engine.py"),
        ("decode @some where/my@engine.py", "decode", "file", "some where/my@engine.py"),
        ("HEAD~3", "whole", "commit", "HEAD~3"),
        ("HEAD@{1}", "whole", "commit", "HEAD@{1}"),
        ("chunk 3 @HEAD@{1}", "chunk 3", "commit", "HEAD@{1}"),
        ("naive", "whole, naive", "backend", "plain"),
        ("my_engines.py:static cache", "whole", "file", "my_engines.py:static cache"),
        ("chunk 3 @transformers_llama:static", "chunk 3", "file", "transformers_llama:static"),
        ("HEAD@{2 days ago}", "whole", "commit", "HEAD@{2 days ago}"),
        ("HEAD:weights", "whole", "commit", "HEAD:weights"),
    ],
)
def test_a_side(text, schedule, kind, engine):
    side = parse_side(text, backend="plain")
    assert (str(side.schedule), side.kind, side.engine) == (schedule, kind, engine)
    assert parse_side(str(side), backend="plain") == side


def test_a_side_that_is_a_file(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(GOOD))
    assert str(parse_side(f"{tmp_path}/s.json @exact", "plain")) == "prefill 5+7, fork, block 4 @exact"
    with pytest.raises(OSError):
        parse_side(f"{tmp_path}/missing.json", "plain")


@pytest.mark.parametrize("text", ["", "  ", "@", " @ "])
def test_a_side_that_says_nothing(text):
    with pytest.raises(ValueError, match="says nothing"):
        parse_side(text, "plain")
