"""Which step a line belongs to, and which lines say nothing."""

import signal

import pytest
from random_models import random_model
from test_checks import CONFIG
from trace_checks import MemoryRecorder

import minillm
from minillm.events import listening
from minillm.trace import load, record, recorder
from minillm.trace.pending import Pending

MODEL, _ = random_model(CONFIG, 0, "exact")
ENDLESS = minillm.Sampling(ignore_eos=True)


def block(do, table, *blocks):
    return {"t": "block", "do": do, "table": table, "blocks": list(blocks), "from": None}


def steps_of(*lines):
    pending = Pending()
    for line in lines:
        pending.add(line)
    return [(line.get("do", line["t"]), line["s"]) for line in pending.take()]


PASS = {"t": "pass", "model": 0}


def test_what_prepares_a_pass_belongs_to_it_and_what_follows_too():
    lines = {"t": "request"}, block("take", 0, 1), {"t": "admit"}, PASS, {"t": "choice"}, block("publish", 0, 1)
    assert [step for _, step in steps_of(*lines)] == [0, 1, 1, 1, 1, 1]
    assert [step for _, step in steps_of(PASS, {"t": "request"}, {"t": "draft"}, {"t": "pass", "model": 1}, PASS)] == [
        1, 1, 2, 2, 2,
    ]  # fmt: skip


def test_blocks_of_a_preempted_request_are_released_in_the_next_step():
    preempt = {"t": "preempt", "table": 0}
    assert steps_of(PASS, block("release", 0, 1), preempt) == [("pass", 1), ("release", 2), ("preempt", 2)]
    assert steps_of(PASS, block("release", 1, 1), preempt) == [("pass", 1), ("release", 1), ("preempt", 2)]


def test_a_table_that_was_only_tried_leaves_no_line():
    assert steps_of(block("hit", 0, 1, 2), block("release", 0, 1, 2)) == []
    assert steps_of(block("share", 0, 1, 2), block("release", 0, 2), block("release", 0, 1)) == []
    assert steps_of(block("hit", 0, 1, 2), block("release", 0, 2)) == [("hit", 1), ("release", 1)]
    assert len(steps_of(block("hit", 0, 1), block("take", 0, 2), block("release", 0, 1, 2))) == 3
    assert len(steps_of(block("hit", 0, 1), block("release", 1, 1))) == 2


def test_a_request_that_waits_with_a_known_prompt_is_not_in_each_step():
    memory, engine = MemoryRecorder(), minillm.Engine(MODEL, block_size=2, num_blocks=7)
    with listening(memory.hear):
        engine.submit([1, 2, 3, 4, 5], 6, ENDLESS)
        engine.step()
        engine.submit([1, 2, 3, 4, 6], 8, ENDLESS)
        engine.run()
    memory.close()
    hits = [line for line in memory.lines if line.get("do") == "hit"]
    admitted = [line for line in memory.lines if line["t"] == "admit" and line["known"]]
    assert len(hits) == len(admitted) > 0 and memory.states().last["totals"]["preemptions"]


def test_ctrl_c_waits_until_an_event_is_heard(tmp_path, monkeypatch):
    path, chosen_line = tmp_path / "run.jsonl", recorder.chosen_line

    def pressed(*arguments):
        signal.raise_signal(signal.SIGINT)
        return chosen_line(*arguments)

    monkeypatch.setattr(recorder, "chosen_line", pressed)
    with pytest.raises(KeyboardInterrupt), record(path):
        minillm.generate(MODEL, [1, 2, 3], 5, ENDLESS)
    assert len(load(path).states.last["requests"][0]["tokens"]) == 1
