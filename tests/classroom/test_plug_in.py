"""A learner's functions in the real engine: right ones change nothing, and each is really called."""

import json

import pytest
from exercise_files import solve, write_body

from minillm.classroom.exercises.exercise import all_exercises, find_exercise
from minillm.classroom.exercises.plug_in import plugged_in
from minillm.classroom.exercises.workspace import Progress, Workspace
from minillm.cli.main import run
from minillm.quantization.bfloat16 import Bfloat16

SAMPLED = ["--temperature", "1", "--seed", "1"]
OPTIONS = {
    "softmax": ["--no-cache"],
    "rope": [],
    "causal_mask": [],
    "attention": [],
    "chunked_prefill": [],
    "top_p": [*SAMPLED, "--top-p", "0.9", "--top-k", "50"],
    "kv_cache_append": [],
    "block_table": [*SAMPLED, "--n", "2"],
    "greedy_verification": ["--speculative", "--draft", "story-draft", "--k", "2"],
    "rejection_sampling": [*SAMPLED, "--speculative", "--draft", "story-draft", "--k", "2"],
    "add_and_norm": [],
    "swiglu": [],
    "temperature_top_k": [*SAMPLED, "--top-k", "20"],
    "int8_round_trip": ["--kv-cache", "int8"],
    "int4_packing": ["--weights", "int4"],
    "bfloat16_bits": ["--weights", "bfloat16"],
    "blockwise_product": ["--weights", "int8"],
}


@pytest.fixture
def answer(capsys, tmp_path):
    """The tokens of a short answer, and the error output."""

    def answered(*options):
        code = run(["generate", "Once upon", "--model", "story-draft", "--max-new-tokens", "4", "--json", *options])
        printed = capsys.readouterr()
        return code, printed.out and _tokens(json.loads(printed.out)), printed.err

    return answered


def _tokens(record):
    return record.get("tokens") or [sample["tokens"] for sample in record["samples"]]


def test_every_function_of_the_engine_is_tried():
    assert list(OPTIONS) == [one.name for one in all_exercises() if "plug" in one.namespace]


@pytest.mark.parametrize("name", OPTIONS)
def test_the_solution_gives_the_same_answer_and_is_really_called(answer, tmp_path, name):
    exercise = find_exercise(name)
    workspace = Workspace.start(tmp_path / "work", [exercise])
    workspace.note(exercise, lambda own: Progress(passed=True))
    expected = answer(*OPTIONS[name], "--backend", "plain")
    assert expected[::2] == (0, "")
    solve(workspace.folder, name)
    code, tokens, error = answer(*OPTIONS[name], "--with", str(workspace.folder))
    assert (code, tokens) == expected[:2]
    assert error == f"Running your functions in this process, on the plain backend: {name}\n"
    write_body(workspace.folder, name, "return 1 / 0")
    code, _, error = answer(*OPTIONS[name], "--with", str(workspace.folder))
    assert (code, f"{exercise.label}.py: ZeroDivisionError" in error) == (2, True)
    assert answer(*OPTIONS[name], "--backend", "plain") == expected  # the functions are ours again


@pytest.mark.parametrize("options", [[], OPTIONS["rejection_sampling"]], ids=["greedy", "speculative"])
def test_all_together_give_the_same_answer(answer, tmp_path, options):
    workspace = Workspace.start(tmp_path / "work")
    for name in OPTIONS:
        workspace.note(find_exercise(name), lambda own: Progress(passed=True))
        solve(workspace.folder, name)
    code, tokens, error = answer(*options, "--with", str(workspace.folder))
    assert (code, tokens, "") == answer(*options, "--backend", "plain")
    assert error.endswith(f": {', '.join(OPTIONS)}\n")


def test_what_is_plugged_in_twice_is_put_back(tmp_path, monkeypatch):
    """Two exercises may replace one function: in the end it is the first one again, also in a class."""
    import minillm.attention

    workspace, names = Workspace.start(tmp_path / "work"), ("softmax", "causal_mask")
    before = minillm.attention.softmax, vars(Bfloat16)["of"]
    for name in names:
        workspace.note(find_exercise(name), lambda own: Progress(passed=True))
        solve(workspace.folder, name)
        places = {"minillm.attention.softmax": abs, "minillm.quantization.bfloat16.Bfloat16.of": abs}
        monkeypatch.setitem(find_exercise(name).namespace, "plug", lambda function, places=places: places)
    with plugged_in(workspace.folder):
        assert minillm.attention.softmax is abs and Bfloat16.of(-1) == 1
    assert (minillm.attention.softmax, vars(Bfloat16)["of"]) == before
