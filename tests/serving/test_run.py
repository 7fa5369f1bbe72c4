"""Lines through one engine: what is asked, how many wait, and what distinguishes requests."""

import dataclasses

import pytest
from test_checks import MODEL
from test_generation import TEXT_MODEL

import minillm
from minillm import Engine, Sampling
from minillm.serving.batch_files import run
from minillm.serving.batch_files.prompts import PromptLine

WARM = Sampling(temperature=1.0, seed=5, ignore_eos=True)
LINE = PromptLine(1, None, "a", 4, WARM)


LINES = [PromptLine(number, None, "ab"[: 1 + number % 2] * number, 3, WARM) for number in (1, 2, 3, 30, 64, 65, 70)]


def encode(line):
    return TEXT_MODEL.tokenizer.encode(line.prompt), line.max_new_tokens


def test_every_line_is_answered_as_alone_and_the_bad_are_told():
    bad, found = {}, {}
    for line, request in run.answer_lines(Engine(TEXT_MODEL), LINES, encode, bad.__setitem__):
        assert request.finished
        found[line.number] = request.tokens
    assert list(bad) == [65, 70]  # longer than the context of 64
    assert all("more than the model's context of 64" in str(problem) for problem in bad.values())
    for line in LINES[:-2]:
        assert found[line.number] == minillm.generate(TEXT_MODEL, encode(line)[0], 3, WARM, use_cache=False).tokens


def test_only_a_few_wait_in_the_engine(monkeypatch):
    monkeypatch.setattr(run, "QUEUE", 3)
    engine, most, taken = Engine(MODEL, block_size=4, num_blocks=4), 0, 0

    def watched():
        nonlocal most, taken
        for number in range(1, 31):
            most, taken = max(most, len(engine.scheduler.waiting)), number
            yield PromptLine(number, None, "a", 5, WARM)

    pairs = run.answer_lines(engine, watched(), lambda line: ([line.number % 13], 5), pytest.fail)
    first, _ = next(pairs)
    assert taken < 30  # the answer was told before all were read
    assert [first.number] + [line.number for line, _ in pairs] == list(range(1, 31))  # equal ones in order of arrival
    assert most < 3


CHANGES = {
    "prompt": {"prompt": "b"},
    "kind of prompt": {"prompt": [{"role": "user", "content": "a"}]},
    "max_new_tokens": {"max_new_tokens": 5},
    "no max_new_tokens": {"max_new_tokens": None},
    "sampling": {"sampling": Sampling(temperature=1.0, seed=6, ignore_eos=True)},
    "stop": {"sampling": Sampling(temperature=1.0, seed=5, ignore_eos=True, stop=["a"])},
}


def test_the_number_of_a_line_and_its_id_do_not_change_the_request():
    assert run.fingerprint({}, LINE) == run.fingerprint({}, dataclasses.replace(LINE, number=2, id="x"))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_the_answer_changes_the_fingerprint(change):
    assert run.fingerprint({}, LINE) != run.fingerprint({}, dataclasses.replace(LINE, **change))
    assert run.fingerprint({}, LINE) != run.fingerprint({"raw": True}, LINE)
