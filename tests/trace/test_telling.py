"""What a trace is told in: sources in the code, sentences, spans for Perfetto, and the page with the format."""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest
from golden_runs import HERE, NAMES, QUESTION
from trace_checks import recorded

import minillm
from minillm.trace import load, schema
from minillm.trace.perfetto import chrome_trace
from minillm.trace.texts import TokenTexts
from minillm.trace.words import sentences

ROOT = Path(__file__).parents[2]
TRACES = {name: load(HERE / f"{name}.jsonl") for name in NAMES}


def test_each_source_is_a_line_that_tells(runs_again):
    for path in runs_again.values():
        lines = load(path).lines
        told = {line.get("do", line["t"]) for line in lines} - {"source", "tokens", "model", "pool", "attention", "end"}
        sources = {line["of"]: line["at"] for line in lines if line["t"] == "source"}
        assert sources.keys() == told
        for at in sources.values():
            file, number = re.fullmatch(r"(minillm/[\w/]+\.py):(\d+)", at).groups()
            assert "tell(" in (ROOT / file).read_text().splitlines()[int(number) - 1], at


def test_a_source_comes_before_the_first_line_of_its_kind():
    for trace in TRACES.values():
        known = {"source", "tokens", "model", "pool", "attention", "end"}
        for line in trace.lines:
            known |= {line["of"]} if line["t"] == "source" else set()
            assert line.get("do", line["t"]) in known


def test_each_token_has_a_text_before_it_is_named():
    for trace in TRACES.values():
        known = set()
        for line in trace.lines:
            known |= {token for token, _ in line["texts"]} if line["t"] == "tokens" else set()
            named = line.get("prompt", []) + [token for token, _ in line.get("before", []) + line.get("after", [])]
            assert set(named) <= known


def test_half_a_character_has_bytes():
    tokenizer = minillm.load("story").tokenizer
    line = TokenTexts(tokenizer).line(0, set(tokenizer.encode("é😀 the")))
    halves = [bytes.fromhex(parts) for _, parts in line["bytes"]]
    assert b"".join(halves) in ("é😀".encode(), "😀".encode()) or all(len(half) == 1 for half in halves)
    assert [text for _, text in line["texts"] if "\ufffd" not in text]


def test_every_step_is_said_in_words():
    said = {name: sentences(trace) for name, trace in TRACES.items()}
    assert said["golden_generate"][:2] == [
        "The prompt has 5 tokens. Nothing has run.",
        'Prefill: 5 tokens of the prompt run in one pass. The next token is " P" (97%).',
    ]
    assert said["golden_generate"][-1].endswith("The answer ends: an end-of-sequence token came.")
    engine = " ".join(said["golden_engine"])
    for words in (
        "Request B begins, with 10 tokens already cached.",
        "is shared and has to be written, so it is copied to block",
        "Blocks ran out: request E is preempted, and 16 tokens are copied out.",
        "Request E resumes, with 4 tokens already cached and 12 tokens copied back.",
        "cached blocks are evicted.",
        "3 decode, 1 runs a chunk of its prompt.",
        "Request F ends: it was cancelled.",
    ):
        assert words in engine
    speculative = " ".join(said["golden_speculative"])
    assert "All 3 draft tokens are accepted." in speculative and "is a bonus." in speculative
    assert 'The first draft token, " She", is rejected: " What" takes its place.' in speculative
    assert all(text and len(text) < 600 for texts in said.values() for text in texts)


def test_an_interrupted_step_is_said(tmp_path):
    model, path = minillm.load("story"), tmp_path / "run.jsonl"

    def interrupted():
        engine = minillm.Engine(model)
        engine.submit(QUESTION, 4)
        monkey = minillm.transformer.all_layers
        minillm.transformer.all_layers = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        try:
            engine.step()
        finally:
            minillm.transformer.all_layers = monkey

    with pytest.raises(KeyboardInterrupt), minillm.trace.record(path):
        interrupted()
    trace = load(path)
    assert sentences(trace)[-1] == "The run was interrupted before the pass of this step."
    assert trace.states.last["requests"][0]["status"] == "running"


@pytest.mark.parametrize("name", NAMES)
def test_spans_of_a_lane_do_not_overlap(name):
    found = chrome_trace(TRACES[name])
    json.dumps(found, allow_nan=False)
    lanes = defaultdict(list)
    for event in found["traceEvents"]:
        if event["ph"] == "X":
            lanes[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in lanes.values():
        assert all(end <= begin for (_, end), (begin, _) in zip(sorted(spans), sorted(spans)[1:], strict=False))
    steps = TRACES[name].states.last["totals"]["passes"]
    assert len(lanes[0]) == steps
    counters = [event["args"] for event in found["traceEvents"] if event["ph"] == "C" and event["name"] == "blocks"]
    assert counters == [{"used": line["used"]} for line in TRACES[name].lines if line["t"] == "step"]


def test_spans_have_the_recorded_seconds(tmp_path):
    model, draft = minillm.load("story"), minillm.load("story-draft")
    run = lambda: minillm.speculative_generate(model, draft, "Once upon a time", 8, k=2)  # noqa: E731
    trace, _ = recorded(tmp_path, run, times=True)
    spans = [event for event in chrome_trace(trace)["traceEvents"] if event["ph"] == "X"]
    passes = [line for line in trace.lines if line["t"] == "pass"]
    assert [event["dur"] for event in spans if event["tid"] < 2] == [line["took"] * 1e6 for line in passes]


def test_the_page_has_the_schema():
    page = (ROOT / "docs" / "trace.md").read_text(encoding="utf-8")
    assert schema.table() in page
