"""A trace is read from files of anybody: what is wrong with one is one line."""

import json

import pytest
from golden_runs import HERE, NAMES

from minillm.trace import load, reader, schema
from minillm.trace.states import States

GOLDEN = (HERE / "golden_engine.jsonl").read_bytes()
LINES = GOLDEN.splitlines(keepends=True)
HEADER = LINES[0]


def changed(kind, /, **fields):
    """The golden trace, of which the first line of this kind has other fields."""
    index = next(i for i, line in enumerate(LINES) if json.loads(line)["t"] == kind)
    line = json.loads(LINES[index]) | fields
    return b"".join([*LINES[:index], json.dumps(line).encode() + b"\n", *LINES[index + 1 :]])


def attention(**fields):
    lines = (HERE / "golden_generate.jsonl").read_bytes().splitlines(keepends=True)
    index = next(i for i, line in enumerate(lines) if b'"attention","s"' in line)
    line = json.loads(lines[index]) | fields
    return b"".join([*lines[:index], json.dumps(line).encode() + b"\n", *lines[index + 1 :]])


def said_again(kind):
    """The golden trace, in which the first line of this kind stands twice."""
    index = next(i for i, line in enumerate(LINES) if json.loads(line)["t"] == kind)
    return b"".join([*LINES[: index + 1], *LINES[index:]])


def corrected_without_a_draft():
    lines = list(map(json.loads, (HERE / "golden_speculative.jsonl").read_text().splitlines()))
    next(line for line in lines if line.get("then") == "corrected")["tokens"] = []
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


DAMAGED = {
    "empty": (b"", "not a trace"),
    "one cut line": (HEADER[:-5], "not a trace"),
    "another program's JSON": (b'{"traceEvents": []}\n', "expected a trace, whose first line has"),
    "another program's lines": (b'{"prompt": "Hello"}\n{"prompt": "x"}\n', "expected a trace"),
    "a list": (b"[1]\n", "expected a trace"),
    "text": (b"hello\n", "not valid JSON"),
    "binary": (b"\x89PNG\r\n\x1a\n\x00\n", "UTF-8"),
    "an unknown version": (changed("header", version=2), "a trace of version 2; this minillm reads version 1"),
    "an unknown detail": (changed("header", detail="all"), "header.detail"),
    "a cut last line": (GOLDEN[:-10], "is cut off; delete it to read the lines before"),
    "an unknown kind": (HEADER + b'{"t":"magic","s":0}\n', "line 2: expected an object whose t is one of"),
    "no object": (HEADER + b"[]\n", "line 2: expected an object"),
    "nested": (HEADER + b"[" * 100_000 + b"]" * 100_000 + b"\n", "line 2: the JSON is nested too deeply"),
    "a missing field": (
        HEADER + b'{"t":"finish","s":0,"id":0}\n',
        'finish.why: expected "eos", "stop", "length", "cancelled"; found nothing',
    ),
    "a foreign field": (changed("finish", more=1), "finish has a field 'more'"),
    "a huge integer": (changed("request", max=2**60), "request.max: expected integer"),
    "infinity": (GOLDEN.replace(b'"temperature":0.8', b'"temperature":1e999', 1), "request.sampling"),
    "nan": (GOLDEN.replace(b'"temperature":0.8', b'"temperature":NaN', 1), "request.sampling"),
    "true for 1": (changed("admit", known=True), "admit.known: expected integer"),
    "a second header": (HEADER + HEADER, "line 2"),
    "a step back": (b"".join([*LINES[:30], LINES[2]]), "step 0 after step"),
    "a step left out": (HEADER + b'{"t":"finish","s":2,"id":0,"why":"eos"}\n', "step 2 after step 0"),
    "an unknown request": (changed("choice", id=99), "choice does not follow from the lines before"),
    "an unknown model": (HEADER + b"".join(LINES[2:]), "model 0 is not described"),
    "a draft of the model that answers": (
        GOLDEN.replace(b'"phase":"decode"', b'"phase":"draft"', 1),
        "model 0 is the model that answers, and it drafts",
    ),
    "an unknown block": (changed("block", blocks=[99]), "there is no block 99"),
    "a block released twice": (b"".join([*LINES[:-1], LINES[-3]]), "does not end with the blocks that it releases"),
    "lines left out": (b"".join([*LINES[:2], *LINES[3:]]), "lines before its end; found"),
    "lines after the end": (GOLDEN + LINES[-1], "a line after the end"),
    "a source that is not a line": (changed("source", at="javascript:alert(1)"), "source.at: expected text such as"),
    "a request described twice": (said_again("request"), "request does not follow from the lines before"),
    "a request that ends twice": (said_again("finish"), "finish does not follow from the lines before"),
    "a correction of no draft token": (corrected_without_a_draft(), "expected the draft token that was corrected"),
    "seconds in a trace that counts steps": (changed("pass", began=0.5, took=0.1), "the clock counts steps"),
    "a pass without seconds": (changed("header", clock="seconds"), "the clock counts seconds"),
    "a contiguous cache without a capacity": (changed("admit", kind="contiguous"), "admit.capacity"),
    "no base64": (attention(weights="#" * 48), "attention.weights: expected base64"),
    "too few weights": (attention(weights="AAAA"), "attention.weights: expected 36 bytes; found 3"),
    "no such layer": (attention(layer=6), "attention of a layer or a head"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_wrong_is_one_line(name, tmp_path):
    path = tmp_path / "run.jsonl"
    data, words = DAMAGED[name]
    path.write_bytes(data)
    with pytest.raises(ValueError) as problem:
        load(path)
    message = str(problem.value)
    assert words in message and message.startswith("run.jsonl") and "\n" not in message and len(message) < 500


@pytest.mark.parametrize("name", NAMES)
def test_a_trace_is_read_as_it_was_written(name):
    data = (HERE / f"{name}.jsonl").read_bytes()
    trace = load(HERE / f"{name}.jsonl")
    written = [json.dumps(line, separators=(",", ":")) + "\n" for line in [trace.header, *trace.lines]]
    assert "".join(written).encode() == data
    assert trace.finished


def test_every_beginning_of_whole_lines_is_a_trace_of_an_interrupted_run(tmp_path):
    path = tmp_path / "run.jsonl"
    for count in range(1, len(LINES), 7):
        path.write_bytes(b"".join(LINES[:count]))
        trace = load(path)
        assert not trace.finished and len(trace.lines) == count - 1


def test_sizes_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / "run.jsonl"
    path.write_bytes(GOLDEN)
    for name, bound, words in (
        ("LARGEST", 1000, "too large"),
        ("MOST_LINES", 10, "expected at most 10 lines"),
        ("LONGEST_LINE", 100, "expected at most 100"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(reader, name, bound)
            with pytest.raises(ValueError, match=words):
                load(path)
    assert load(path)


def test_states_of_a_stranger_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("minillm.trace.states.MOST_KEPT", 1000)
    states = States()
    states.add(json.loads(LINES[2]) | {"t": "request", "s": 0, "id": 0, "group": None, "prompt": [1]})
    with pytest.raises(ValueError, match="too long to keep its states"):
        for step in range(1, 500):
            states.add({"t": "choice", "s": step, "id": 0, "token": 1, "text": "x" * 10, "origin": ""})


@pytest.mark.parametrize("kind", schema.KINDS)
def test_a_line_without_one_of_its_fields_is_refused(kind):
    for line in map(json.loads, LINES):
        if line["t"] == kind:
            assert schema.check(line) == line
            for name in line.keys() - {"t"}:
                with pytest.raises(ValueError, match=rf"{kind}.{name}"):
                    schema.check({other: value for other, value in line.items() if other != name})
            return
