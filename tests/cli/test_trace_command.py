"""`minillm trace`: a run in words, as a trace, and as spans."""

import json
import os
import re
from pathlib import Path

import pytest

import minillm
from minillm.trace import load

WARM = ("--temperature", 1, "--seed", 7, "--ignore-eos", "--max-new-tokens", 6)


@pytest.fixture
def trace(call, model_folder, tmp_path, monkeypatch):
    """`minillm trace` on the tiny model, in a folder of its own; a failure fails the test."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = call("trace", *arguments, *(() if "--read" in arguments else ("--model", model_folder)))
        assert (result.code, result.err) == (0, "")
        return result.out

    return run


@pytest.fixture
def refused(call, model_folder, tmp_path, monkeypatch):
    """What `minillm trace` says of a mistake."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = call("trace", *arguments, *(() if "--read" in arguments else ("--model", model_folder)))
        assert result.code == 2 and result.err.count("\n") == 1
        return result.err

    return run


def requests_of(path="run.jsonl"):
    return list(load(path).states.last["requests"].values())


def test_each_step_is_a_line(trace):
    lines = trace("hello", *WARM).splitlines()
    assert len(lines) == 7 and lines[1].startswith("   1  Prefill: ") and lines[-1].endswith("its maximum of tokens.")


@pytest.mark.parametrize("options", [(), ("--no-cache",), ("--speculative",), ("--kv-cache", "int8"), ("--raw",)])
def test_the_trace_has_the_tokens_of_generate(trace, call, model_folder, options):
    trace("hello", *WARM, *options, "--out", "run.jsonl", "--detail", "attention")
    found = json.loads(call("generate", "--model", model_folder, "hello", *WARM, *options, "--json").out)
    [request] = requests_of()
    assert (request["tokens"], request["text"]) == (found["tokens"], found["text"])
    assert any(line["t"] == "attention" for line in load("run.jsonl").lines)


def test_samples_share_the_prompt(trace):
    trace("hello", *WARM, "--n", 2, "--out", "run.jsonl", "--block-size", 4)
    first, second = requests_of()
    assert first["prompt"] == second["prompt"] and first["tokens"] != second["tokens"]
    assert "share" in {line.get("do") for line in load("run.jsonl").lines}


@pytest.mark.parametrize("preemption", ["swap", "recompute"])
@pytest.mark.parametrize("options", [(), ("--speculative", "--draft", "lookup")])
def test_a_batch_runs_in_one_engine(trace, tmp_path, preemption, options):
    (tmp_path / "prompts.jsonl").write_text("".join(f'{{"prompt": "{word}"}}\n' for word in ("aaaa", "bbbb", "cccc")))
    small = ("--block-size", 2, "--num-blocks", 8, "--max-batch-tokens", 20, "--preemption", preemption)
    trace("--batch", "prompts.jsonl", "--raw", *WARM, *small, *options, "--out", "run.jsonl")
    last = load("run.jsonl").states.last
    assert [len(request["tokens"]) for request in last["requests"].values()] == [6, 6, 6]
    assert last["totals"]["preemptions"] and last["totals"]["passes"] < 18


def test_spans_are_written_and_a_trace_is_read_again(trace, tmp_path):
    out = trace("hello", *WARM, "--out", "run.jsonl", "--perfetto", "run.json")
    assert out.splitlines()[0] == "6 steps of 1 request" and "run.jsonl: " in out and "run.json: " in out
    first = json.loads((tmp_path / "run.json").read_text())
    trace("--read", "run.jsonl", "--perfetto", "run.json", "--force")
    assert json.loads((tmp_path / "run.json").read_text()) == first
    assert trace("--read", "run.jsonl") == trace("hello", *WARM)


def test_a_page_is_written_of_a_run(trace, refused, tmp_path):
    out = trace("hello", *WARM, "--html", "run.html")
    page = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert out.splitlines()[0] == "6 steps of 1 request" and "run.html: " in out
    content = json.loads(
        re.search('<script type="application/json" id="trace">(.*?)</script>', page, re.DOTALL).group(1)
    )
    assert len(content["sentences"]) == 7 and any(line["t"] == "attention" for line in content["lines"])
    assert "add --force to overwrite it" in refused("hello", "--html", "run.html")
    trace("hello", *WARM, "--html", "run.html", "--force", "--detail", "tokens")
    assert (tmp_path / "run.html").stat().st_size < len(page)


@pytest.mark.filterwarnings("always")
def test_attention_that_nobody_asked_for_is_left_out_of_a_large_page(trace, refused, call, model_folder, monkeypatch):
    from minillm.trace import page

    trace("hello", *WARM, "--html", "small.html", "--detail", "choices")
    monkeypatch.setattr(page, "LARGEST_PAGE", Path("small.html").stat().st_size + 100)
    result = call("trace", "--model", model_folder, "hello", *WARM, "--html", "run.html")
    assert result.code == 0
    assert result.err.count("\n") == 1 and "attention is left out of the page" in result.err
    assert Path("run.html").stat().st_size <= page.LARGEST_PAGE
    asked = refused("hello", *WARM, "--html", "x.html", "--detail", "attention", "--out", "x.jsonl")
    assert "the page would have" in asked and load("x.jsonl").finished
    monkeypatch.setattr(page, "LARGEST_PAGE", 1000)
    assert "record fewer" in refused("hello", *WARM, "--html", "x.html") and not Path("x.html").exists()


@pytest.mark.parametrize("option", ["--html", "--perfetto"])
def test_an_old_file_stays_where_the_new_one_does_not_fit_on_the_disk(trace, refused, tmp_path, monkeypatch, option):
    Path(tmp_path, "old").write_text("mine")
    with monkeypatch.context() as full:
        full.setattr(os, "fdopen", lambda handle, *_, **__: open("/dev/full", "w", closefd=not os.close(handle)))
        assert "old: No space left on device" in refused("hello", *WARM, option, "old", "--force")
    assert Path("old").read_text() == "mine" and os.listdir() == ["old"]


def test_a_folder_that_cannot_be_written_is_known_before_the_run(refused, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be written; choose another one" in refused("hello", "--html", "run.html")


def test_json_has_the_steps_in_words(trace):
    found = json.loads(trace("hello", *WARM, "--json"))
    assert found.keys() == {"finished", "requests", "totals", "steps"} and len(found["steps"]) == 7
    assert found["finished"] and found["requests"][0]["why"] == "length" and found["totals"]["passes"] == 6


def test_times_and_layers_are_options(trace):
    trace("hello", *WARM, "--out", "run.jsonl", "--times", "--detail", "attention", "--layers", "1")
    found = load("run.jsonl")
    assert found.header["clock"] == "seconds"
    assert {line["layer"] for line in found.lines if line["t"] == "attention"} == {1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected a prompt, --batch FILE or --read FILE; found nothing"),
        (("hello", "--read", "run.jsonl"), "found a prompt and --read"),
        (("--read", "run.jsonl", "--out", "x.jsonl"), "--read takes a trace as it is; leave out --out\n"),
        (("--read", "run.jsonl", "--model", "x", "--max-new-tokens", "3"), "leave out --model and --max-new-tokens\n"),
        (("--read", "missing.jsonl"), "missing.jsonl: No such file"),
        (("--read", "."), "expected an ordinary file"),
        (("hello", "--detail", "all"), "expected one of tokens, choices, attention"),
        (("hello", "--layers", "0"), "--layers belongs to --detail attention"),
        (("hello", "--detail", "attention", "--layers", "a"), "expected numbers of layers"),
        (("hello", "--detail", "attention", "--layers", "99"), "of layer 99 was asked for"),
        (("hello", "--num-blocks", 4), "--num-blocks is an option of an engine"),
        (("hello", "--n", 0), "--n is 0"),
        (("hello", "--n", 2, "--no-cache"), "leave out one of them"),
        (("hello", "--k", 2), "--k is an option of --speculative"),
        (("hello", "--out", "no/run.jsonl"), "--out: there is no folder"),
        (("", "--raw"), "the prompt is empty"),
        (("--batch", "missing.jsonl"), "there is no file missing.jsonl"),
        (("hello", "--out", "a", "--html", "./a"), "--out and --html name one file"),
        (("--read", "a", "--html", "a", "--force"), "--read and --html name one file"),
        (("--batch", "a", "--out", "a", "--force"), "--batch and --out name one file"),
        (("hello", "--html", "", "--force"), "is not an ordinary file"),
        (("hello", "--perfetto", "/dev/null", "--force"), "/dev/null is not an ordinary file"),
    ],
)
def test_a_mistake_is_one_line(refused, arguments, words):
    assert words in refused(*arguments)


def test_a_file_that_exists_stays_without_force(refused, tmp_path):
    (tmp_path / "run.jsonl").write_text("mine")
    assert "add --force to overwrite it" in refused("hello", "--out", "run.jsonl")
    assert (tmp_path / "run.jsonl").read_text() == "mine"


def test_ctrl_c_leaves_a_trace_of_what_ran(call, model_folder, tmp_path, monkeypatch):
    from minillm.cli import trace

    def interrupted(*arguments):
        run = single_run(*arguments)
        yield from (next(run), next(run))
        raise KeyboardInterrupt

    single_run = trace._single_run
    monkeypatch.setattr(trace, "_single_run", interrupted)
    monkeypatch.chdir(tmp_path)
    assert call("trace", "--model", model_folder, "hello", *WARM, "--out", "run.jsonl", "--html", "x.html").code == 130
    [request] = requests_of()
    assert len(request["tokens"]) == 2 and request["status"] == "running" and not load("run.jsonl").finished
    assert not (tmp_path / "x.html").exists()


def test_a_trace_of_another_program_is_one_line(refused, tmp_path):
    (tmp_path / "run.jsonl").write_text('{"traceEvents": []}\n')
    assert "run.jsonl: expected a trace" in refused("--read", "run.jsonl")


def test_texts_of_a_stranger_do_not_steer_the_terminal(trace, tmp_path):
    trace("hello", *WARM, "--out", "run.jsonl")
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    for index, line in enumerate(map(json.loads, lines)):
        if line["t"] == "tokens":
            bad = "\x1b[2J\u202e\0</script>\ud800\n"
            lines[index] = json.dumps(line | {"texts": [[token, bad] for token, _ in line["texts"]]})
    (tmp_path / "run.jsonl").write_text("\n".join(lines) + "\n")
    out = trace("--read", "run.jsonl", "--perfetto", "run.json") + trace("--read", "run.jsonl")
    assert "</script>" in out and not set(out) & set("\x1b\u202e\0") and len(out.splitlines()) == 2 + 7


def test_a_bad_line_of_a_batch_is_named(refused, tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a"}\n{"prompt": 7}\n')
    assert "prompts.jsonl, line 2: prompt: expected one text" in refused("--batch", "prompts.jsonl")


def test_names_of_the_command_are_those_of_the_library():
    from minillm.batching import engine
    from minillm.cli import trace
    from minillm.trace import schema
    from minillm.trace.terminal.views import VIEWS

    assert (trace.DETAILS, trace.PREEMPTION, trace.VIEWS) == (schema.DETAILS, engine.PREEMPTION, tuple(VIEWS))
    assert minillm.trace.load is load
