"""Golden traces: a run gives them again, byte for byte, and the reducer in JavaScript is held to the same states."""

import hashlib
import json

import golden_runs
import pytest

import minillm
from minillm.trace import load, record

HASH = "a23f0a9d25f02c571f0eceb64c22bae02ef788bd84acd019b711f544426a633b"


def without_sources(path):
    """The lines of a trace; where in the code they are told changes with the code."""
    return [line for line in path.read_bytes().splitlines(keepends=True) if not line.startswith(b'{"t":"source"')]


@pytest.mark.parametrize("name", golden_runs.NAMES)
def test_the_run_gives_the_golden_trace_again(name, runs_again):
    golden = without_sources(golden_runs.HERE / f"{name}.jsonl")
    assert without_sources(runs_again[name])[:-1] == golden[:-1]  # the last line counts all lines


@pytest.mark.parametrize("name", golden_runs.NAMES)
def test_the_golden_states_are_those_of_the_golden_trace(name):
    golden = json.loads((golden_runs.HERE / "golden_states.json").read_text())
    assert golden_runs.states(golden_runs.HERE / f"{name}.jsonl") == golden[name]


def test_the_default_trace_of_a_prompt_has_one_hash_on_every_machine(tmp_path):
    path = tmp_path / "run.jsonl"
    with record(path):
        minillm.generate(minillm.load("story", backend="exact"), "Once upon a time", 8, golden_runs.WARM)
    assert hashlib.sha256(b"".join(without_sources(path)[:-1])).hexdigest() == HASH


def test_the_golden_traces_have_every_kind_of_line_and_of_action():
    traces = [load(golden_runs.HERE / f"{name}.jsonl") for name in golden_runs.NAMES]
    lines = [line for trace in traces for line in trace.lines]
    kinds = {line["t"] for line in lines}
    assert kinds >= set("model source tokens request admit preempt finish pass step pool block choice".split())
    assert kinds >= {"draft", "verdict", "attention", "end"}
    done = {line["do"] for line in lines if line["t"] == "block"}
    assert done == {"take", "hit", "share", "copy", "release", "publish", "evict"}
    judged = {token["accepted"] for line in lines if line["t"] == "verdict" for token in line["tokens"]}
    assert judged == {True, False}
    phases = {row["phase"] for line in lines if line["t"] == "pass" for row in line["rows"]}
    assert phases == {"prefill", "chunk", "decode", "verify", "draft"}
