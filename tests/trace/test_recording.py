"""A recording: it changes no token, and the fold of its lines is what the engine is, after every step."""

import errno
import io
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import models, random_model
from test_checks import CONFIG
from test_engine_schedules import engines, submissions
from trace_checks import MemoryRecorder, recorded

import minillm
from minillm import Engine, PromptLookup, Sampling
from minillm.events import listening
from minillm.trace import load, record
from minillm.trace.state import apply, new_state
from minillm.trace.states import EVERY

MODEL, _ = random_model(CONFIG, 0, "exact")
DRAFT, _ = random_model(CONFIG, 1, "exact")
PROMPT = [1, 2, 3, 4, 5]
WARM = Sampling(temperature=1.0, top_k=4, seed=3, ignore_eos=True)
ACTIONS = "submit", "samples", "step", "step", "cancel"


def check_engine(state, engine):
    """The state says of blocks, tables and queues what the engine does."""
    pool, running = engine.pool, engine.scheduler.running
    refs = {block: count for block, count in enumerate(pool.reference_counts) if count}
    assert {block: each["refs"] for block, each in state["blocks"].items() if each["refs"]} == refs
    assert {block for block, each in state["blocks"].items() if each["known"]} == set(pool.prefixes._by_block)
    assert (len(state["running"]), len(state["waiting"])) == (len(running), len(engine.scheduler.waiting))
    for number, request in zip(state["running"], running, strict=True):
        table = state["tables"][state["requests"][number]["table"]]
        assert (table["blocks"], table["length"]) == (request.cache.table, request.cache.length)
        assert state["requests"][number]["tokens"] == request.tokens
    for number, request in zip(state["waiting"], engine.scheduler.waiting, strict=True):
        assert state["requests"][number]["tokens"] == request.tokens


def check_schedule(data):
    model = data.draw(models(backends=("exact",)))
    wanted = data.draw(submissions(model.config.vocab_size))
    drafters = {"least_budget": 4, "drafter": data.draw(st.sampled_from([model, PromptLookup()])), "k": 3}
    engine = data.draw(engines(model, wanted, **data.draw(st.sampled_from([{}, drafters]))))
    recorder, requests, alone = MemoryRecorder(), [], []
    with listening(recorder.hear):
        for action in data.draw(st.lists(st.sampled_from(ACTIONS), max_size=20)):
            if action in ("submit", "samples") and wanted:
                prompt, new_tokens, sampling = wanted.pop()
                alone.append((prompt, new_tokens, sampling))
                requests.append(engine.submit_samples(prompt, 1 + (action == "samples"), new_tokens, sampling))
            elif action == "cancel" and requests:
                engine.cancel(data.draw(st.sampled_from(requests))[0])
            elif action == "step":
                engine.step()
            check_engine(recorder.state(), engine)
        engine.run()
        check_engine(recorder.state(), engine)
    if not engine.speculator:
        for (prompt, new_tokens, sampling), [request, *_] in zip(alone, requests, strict=True):
            if request.status == "finished":
                naive = minillm.generate(
                    model, prompt, new_tokens, sampling, use_cache=False, cache_dtype=engine.pool.memory.stored_as
                )
                assert request.tokens == naive.tokens
    check_stepping(recorder, data)


def check_stepping(recorder, data):
    """A state found from its keyframe is the fold of all lines until its step, in any order of stepping."""
    states = recorder.states()
    for step in data.draw(st.permutations(range(len(states.steps)))):
        folded = new_state()
        for line in (line for lines in states.steps[: step + 1] for line in lines):
            apply(folded, line)
        assert states.at(step) == folded


@settings(max_examples=3)
@given(data=st.data())
def test_the_lines_say_what_the_engine_is(data):
    check_schedule(data)


@pytest.mark.slow
@settings(max_examples=100)
@given(data=st.data())
def test_the_lines_say_what_the_engine_is_in_many_schedules(data):
    check_schedule(data)


RUNS = {
    "generate": lambda: minillm.generate(MODEL, PROMPT, 6, WARM).tokens,
    "naive": lambda: minillm.generate(MODEL, PROMPT, 6, WARM, use_cache=False).tokens,
    "int8": lambda: minillm.generate(MODEL, PROMPT, 6, WARM, cache_dtype="int8").tokens,
    "speculative": lambda: minillm.speculative_generate(MODEL, DRAFT, PROMPT, 9, WARM, k=3).tokens,
    "lookup": lambda: minillm.speculative_generate(MODEL, PromptLookup(), [1, 2, 1, 2], 9, WARM, k=2).tokens,
    "by itself": lambda: minillm.speculative_generate(MODEL, MODEL, PROMPT, 9, k=2).tokens,
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("detail", ["tokens", "choices", "attention"])
def test_recording_changes_no_token(run, detail, tmp_path):
    trace, tokens = recorded(tmp_path, RUNS[run], detail=detail)
    assert tokens == RUNS[run]()
    assert trace.states.last["requests"][0]["tokens"] == tokens and trace.finished
    heads = CONFIG.num_hidden_layers * CONFIG.num_attention_heads
    assert sum(line["t"] == "attention" for line in trace.lines) == (heads if detail == "attention" else 0)


@pytest.mark.parametrize("run", ["speculative", "lookup", "by itself"])
def test_each_pass_of_the_model_is_a_step_and_draft_passes_belong_to_the_next(run, tmp_path):
    trace, _ = recorded(tmp_path, RUNS[run])
    for step, lines in enumerate(trace.states.steps):
        models = [line["model"] for line in lines if line["t"] == "pass"]
        assert models[-1:] == [0] * (step > 0) and models.count(0) == (step > 0)
        rows = [row for line in lines if line["t"] == "pass" for row in line["rows"]]
        assert {row["phase"] for row in rows if row["id"] is None} <= set()
    last = trace.states.last
    assert last["totals"]["passes"] == len(trace.states.steps) - 1
    assert (last["totals"]["draft_passes"] > 0) == (run != "lookup")
    [table] = last["tables"].values()
    assert table["length"] == len(PROMPT if run != "lookup" else [1, 2, 1, 2]) + 9 - 1


def test_a_choice_has_its_candidates_before_and_after_the_filters(tmp_path):
    trace, tokens = recorded(tmp_path, RUNS["generate"])
    choices = [line for line in trace.lines if line["t"] == "choice"]
    assert [line["token"] for line in choices] == tokens
    for line in choices:
        before, after = dict(line["before"]), dict(line["after"])
        assert len(before) == 13 and sum(before.values()) == pytest.approx(1, abs=1e-4)
        assert len(after) == line["kept"] == 4 and set(after) == set([token for token, _ in line["before"]][:4])
        assert line["low"] <= line["number"] <= line["low"] + after[line["token"]] + 1e-5


def test_greedy_choices_draw_nothing_and_tokens_alone_have_no_candidates(tmp_path):
    trace, _ = recorded(tmp_path, lambda: minillm.generate(MODEL, PROMPT, 3))
    for line in trace.lines:
        if line["t"] == "choice":
            assert (line["number"], line["low"], line["after"]) == (None, None, [[line["token"], 1.0]])
    (tmp_path / "run.jsonl").unlink()
    trace, _ = recorded(tmp_path, lambda: minillm.generate(MODEL, PROMPT, 3), detail="tokens")
    assert all(line["before"] == [] and line["logprob"] is None for line in trace.lines if line["t"] == "choice")


def test_the_work_of_a_pass_is_what_is_counted_at_the_backend(tmp_path):
    from minillm.trace.counting import counted

    model, count = counted(random_model(CONFIG, 0, "plain")[0])
    trace, _ = recorded(tmp_path, lambda: minillm.generate(model, PROMPT, 5, WARM))
    totals = trace.states.last["totals"]
    assert (totals["flops"], totals["cache_bytes"]) == (count.flops, count.cache_bytes)
    assert totals["weight_bytes"] == count.weight_bytes


def test_a_conversation_and_static_batches_and_bare_passes_are_recorded(tmp_path):
    def run():
        cache = minillm.KVCache(MODEL, 16)
        list(minillm.Generation(MODEL, PROMPT, 2, cache=cache))
        list(minillm.Generation(MODEL, [*PROMPT, 9, 9, 9], 2, cache=cache))
        batching = minillm.StaticBatching(MODEL, batch_size=2)
        for new in (3, 1):
            batching.submit(PROMPT, new, WARM)
        batching.run()
        minillm.forward(MODEL, PROMPT)
        minillm.prefill(MODEL, PROMPT, minillm.KVCache(MODEL, 8), chunk=2)

    trace, _ = recorded(tmp_path, run)
    rows = [(row["id"], row["phase"]) for line in trace.lines if line["t"] == "pass" for row in line["rows"]]
    assert rows[:4] == [(0, "prefill"), (0, "decode"), (1, "prefill"), (1, "decode")]
    assert rows[4:8] == [(2, "prefill"), (3, "prefill"), (2, "decode"), (2, "decode")]
    assert rows[8:] == [(None, "prefill"), (None, "chunk"), (None, "chunk"), (None, "decode")]
    admitted = [line["known"] for line in trace.lines if line["t"] == "admit"]
    assert admitted[:2] == [0, 6]


def test_a_recording_may_begin_in_the_middle_of_a_run(tmp_path):
    engine = Engine(MODEL, block_size=2, num_blocks=20)
    requests = [engine.submit([each, 2, 3], 8, WARM) for each in (1, 4)]
    engine.step(), engine.step()
    before = [len(request.tokens) for request in requests]
    trace, _ = recorded(tmp_path, engine.run)
    found = trace.states.last["requests"]
    sequences = [each.completion.sequence for each in requests]
    assert [each["prompt"] + each["tokens"] for each in found.values()] == sequences
    assert [len(each["prompt"]) for each in found.values()] == [3 + count for count in before]
    assert {each["status"] for each in found.values()} == {"finished"}
    assert not any(block["refs"] for block in trace.states.last["blocks"].values())


def test_an_interrupted_run_leaves_a_trace_of_what_ran(tmp_path):
    path, seen = tmp_path / "run.jsonl", []
    with pytest.raises(KeyboardInterrupt), record(path, detail="attention"):
        for step in minillm.Generation(MODEL, PROMPT, 8, WARM):
            seen.append(step.token)
            if len(seen) == 3:
                raise KeyboardInterrupt
    trace = load(path)
    assert not trace.finished and "interrupted" in repr(trace)
    assert trace.states.last["requests"][0]["tokens"] == seen


@pytest.mark.parametrize(
    ("run", "options", "words"),
    [
        (lambda: None, {}, "nothing ran"),
        (lambda: (minillm.forward(MODEL, [1]), minillm.forward(DRAFT, [1])), {}, "a trace is of one model"),
        (
            lambda: minillm.generate(MODEL, [1], 2),
            {"detail": "attention", "layers": [7]},
            "the layers of random are 0 to 1",
        ),
        (lambda: None, {"detail": "all"}, "expected one of tokens, choices, attention"),
        (lambda: None, {"layers": [0]}, "layers belong to detail='attention'"),
        (lambda: None, {"detail": "attention", "layers": "0"}, "expected a list of numbers of layers"),
        (lambda: None, {"times": 1}, "times is 1; expected True or False"),
    ],
)
def test_what_cannot_be_recorded_is_one_line(tmp_path, run, options, words):
    with pytest.raises(ValueError, match=words) as problem, record(tmp_path / "run.jsonl", **options):
        run()
    assert "\n" not in str(problem.value)


def test_a_file_that_exists_is_overwritten_only_by_force(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="force"), record(path):
        pass
    assert path.read_text() == "mine"
    with record(path, force=True):
        minillm.forward(MODEL, [1])
    assert load(path).finished


def test_an_old_file_stays_until_the_new_trace_is_there(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text("mine")
    with record(path, force=True):
        minillm.forward(MODEL, [1])
        assert path.read_text() == "mine"
    assert load(path).finished and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [None, KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("old", [True, False])
def test_where_nothing_ran_an_old_file_stays_and_no_new_one_is_left(tmp_path, failure, old):
    path = tmp_path / "run.jsonl"
    if old:
        path.write_text("mine")
    with pytest.raises(failure or ValueError), record(path, force=True):
        if failure:
            raise failure
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"] * old


def test_an_interrupted_run_replaces_an_old_file(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text("mine")
    with pytest.raises(KeyboardInterrupt), record(path, force=True):
        minillm.forward(MODEL, [1])
        raise KeyboardInterrupt
    assert len(load(path).states.steps) == 2 and not load(path).finished and list(tmp_path.iterdir()) == [path]


def test_of_a_link_the_file_that_it_names_is_replaced(tmp_path):
    real, link = tmp_path / "real.jsonl", tmp_path / "run.jsonl"
    real.write_text("mine")
    link.symlink_to(real)
    with record(link, force=True):
        minillm.forward(MODEL, [1])
    assert link.is_symlink() and load(real).finished


def test_a_folder_and_a_device_are_not_replaced(tmp_path):
    for path in (tmp_path, "/dev/null"):
        with pytest.raises(OSError, match="expected an ordinary file"), record(path, force=True):
            minillm.forward(MODEL, [1])


@pytest.mark.parametrize(
    ("limit", "words"),
    [("LARGEST", "no more fit"), ("MOST_LINES", "no more fit"), ("LONGEST_LINE", "a line would have more")],
)
def test_a_trace_that_is_full_does_not_break_the_run(tmp_path, monkeypatch, limit, words):
    from minillm.trace import trace_file

    monkeypatch.setattr(trace_file, limit, {"LARGEST": 2_000, "MOST_LINES": 9, "LONGEST_LINE": 300}[limit])
    with pytest.raises(ValueError, match=words), record(tmp_path / "run.jsonl"):
        tokens = RUNS["generate"]()
    assert tokens == RUNS["generate"]()
    assert not load(tmp_path / "run.jsonl").finished


class NearlyFull(io.FileIO):
    """A file on a disk that takes 2,000 bytes, of the last line only a part."""

    def write(self, data):
        room = 2_000 - self.tell()
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data[:room])


def test_a_full_disk_leaves_the_whole_lines_and_does_not_break_the_run(tmp_path, monkeypatch):
    from minillm.trace import trace_file

    path = tmp_path / "run.jsonl"
    monkeypatch.setattr(trace_file, "_create", lambda *_: (NearlyFull(path, "x"), path))
    with pytest.raises(ValueError, match=r"run.jsonl: No space left on device"), record(path):
        tokens = RUNS["generate"]()
    assert tokens == RUNS["generate"]()
    assert len(load(path).states.last["requests"][0]["tokens"]) < len(tokens)


def test_a_failure_of_the_recorder_does_not_break_the_run(tmp_path, monkeypatch):
    from minillm.trace import recorder

    monkeypatch.setattr(recorder, "chosen_line", lambda *_: 1 / 0)
    with pytest.raises(ValueError, match="the recorder failed: ZeroDivisionError"), record(tmp_path / "run.jsonl"):
        tokens = RUNS["generate"]()
    assert tokens == RUNS["generate"]()
    assert not load(tmp_path / "run.jsonl").finished


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8", "int4"])
def test_weights_are_counted_in_their_format(weights, tmp_path):
    from minillm.trace.counting import counted

    model, count = counted(random_model(CONFIG, 0, "numpy", "float32", weights)[0])
    trace, _ = recorded(tmp_path, lambda: minillm.generate(model, PROMPT, 3, WARM))
    assert trace.states.last["totals"]["weight_bytes"] == pytest.approx(count.weight_bytes, rel=1e-3)


def test_times_are_seconds_of_each_pass(tmp_path):
    trace, _ = recorded(tmp_path, RUNS["generate"], times=True)
    passes = [line for line in trace.lines if line["t"] == "pass"]
    assert trace.header["clock"] == "seconds" and all(line["took"] > 0 for line in passes)
    assert [line["began"] for line in passes] == sorted(line["began"] for line in passes)


def test_stepping_back_costs_no_more_than_stepping_forward(tmp_path):
    long = random_model(CONFIG.__class__(**{**vars(CONFIG), "max_position_embeddings": 200}), 0)[0]
    trace, _ = recorded(tmp_path, lambda: minillm.generate(long, PROMPT, 150, WARM), detail="tokens")
    states, most = trace.states, max(map(len, trace.states.steps))
    for step in [*range(151), *reversed(range(151))]:
        before = states.folded
        assert len(states.at(step)["requests"][0]["tokens"]) == step
        assert states.folded - before <= EVERY * most


def test_the_file_is_plain_ascii(tmp_path):
    recorded(tmp_path, RUNS["generate"])
    for line in (tmp_path / "run.jsonl").read_bytes().splitlines():
        assert line.isascii() and json.loads(line)["t"]
