"""The bug zoo: every patch applies to today's source, and its property fails on the patched engine alone."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from minillm.cli.main import run
from minillm.zoo import comparison
from minillm.zoo.bug import all_bugs, find_bug, property_meaning
from minillm.zoo.comparison import Comparison, Observation, compare, observe
from minillm.zoo.patched_process import PatchedLoader

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"
IN_PLAIN_PYTEST = (24,)  # a comparison takes two processes of some seconds


@pytest.fixture
def call(capsys):
    """Run a command in this process: its exit code, and what it wrote."""

    def call(*arguments):
        code = run(list(arguments))
        return (code, *capsys.readouterr())

    return call


def test_the_bugs_are_numbered_from_1_to_30():
    assert [bug.number for bug in all_bugs()] == list(range(1, 31))
    for field in ("name", "title", "thread"):
        assert len({getattr(bug, field) for bug in all_bugs()}) == 30


@pytest.mark.parametrize("bug", all_bugs(), ids=lambda bug: bug.name)
def test_a_bug_is_told_and_its_patch_applies(bug):
    compile(bug.patched_source(), bug.module, "exec")
    assert {"+", "-"} >= {line[:1] for line in bug.diff()} - {" ", ""} != set()
    assert re.fullmatch(r"[\w.-]+/[\w.-]+, (issue|pull request) [1-9]\d*", bug.thread_name)
    assert all(text.endswith(".") for text in (bug.title, bug.seen, bug.cause))
    assert bug.engine and bug.kind and bug.thread_title
    assert property_meaning(bug.caught_by).endswith(".")


def slow_unless_quick(bug):
    return pytest.param(bug, id=bug.name, marks=() if bug.number in IN_PLAIN_PYTEST else pytest.mark.slow)


@pytest.mark.parametrize("bug", [slow_unless_quick(bug) for bug in all_bugs()])
def test_the_property_fails_on_the_patched_engine_alone(bug):
    before = bug.source
    compared = compare(bug)
    assert compared.healthy.failure is None
    assert compared.patched.failure is not None and "FlakyFailure" not in compared.patched.failure
    assert compared.healthy.answer != compared.patched.answer
    assert bug.source == before


@pytest.mark.parametrize(("old", "new", "problem"), [
    ("probs", "p", "occurs [0-9]+ times"),
    ("not there", "", "occurs 0 times"),
    ("LARGEST = sys.float_info.max", "", "is not in _keep"),
])  # fmt: skip
def test_a_patch_that_does_not_fit_is_refused(old, new, problem):
    with pytest.raises(ValueError, match=problem):
        replace(find_bug(24), patch=[(old, new)]).patched_source()


def test_the_hook_refuses_a_text_that_is_not_there_once(tmp_path):
    file = tmp_path / "some.py"
    file.write_text("a = 1\nb = 1\n")
    loader = PatchedLoader("some", str(file))
    loader.patch = [("b = 1", "b = 2")]
    names = {}
    exec(loader.get_code("some"), names)
    assert (names["a"], names["b"]) == (1, 2)
    loader.patch = [(" = 1", " = 2")]
    with pytest.raises(ImportError, match="occurs 2 times in some"):
        loader.get_code("some")
    assert list(tmp_path.iterdir()) == [file]


DIES = [("def _keep", "import os\nos._exit(3)\ndef _keep")]


def test_a_patched_engine_that_ends_or_hangs_is_an_observation(monkeypatch):
    dies = replace(find_bug(24), patch=DIES)
    assert "ended with exit code 3" in observe(dies, patched=True).failure
    monkeypatch.setattr(comparison, "LONGEST_S", 0.1)
    assert observe(dies, patched=True).failure == comparison.HUNG
    with pytest.raises(ValueError, match="the engine without a patch does not run"):
        observe(dies, patched=False)


def test_the_list_and_the_stories(call):
    code, out, err = call("zoo")
    assert (code, err) == (0, "")
    assert "30 bugs." in out
    record = json.loads(call("zoo", "--json")[1])["bugs"][23]
    assert record == json.loads(call("zoo", "24", "--json")[1])
    assert record["thread"] == find_bug(24).thread
    story = call("zoo", "24")[1]
    assert record["thread"] in story and record["property"] in story


def test_the_page_is_that_of_the_command(call):
    assert call("zoo", "--markdown") == (0, PAGE.read_text(encoding="utf-8"), "")


def test_what_is_shown_and_the_exit_status(call, monkeypatch):
    caught = Comparison(Observation(["fine"], None), Observation(["not fine"], "a counterexample"))
    monkeypatch.setattr("minillm.cli.zoo.compare", lambda bug: caught)
    code, out, _ = call("zoo", "24", "--show")
    assert code == 0
    for text in ("-    ", "+    ", "    fine", "    not fine", "a counterexample", "healthy: holds"):
        assert text in out
    assert json.loads(call("zoo", "24", "--show", "--json")[1])["caught"] is True
    monkeypatch.setattr("minillm.cli.zoo.compare", lambda bug: replace(caught, patched=caught.healthy))
    assert call("zoo", "24", "--show")[0] == 1


@pytest.mark.parametrize(("arguments", "message"), [
    (["31"], "expected an integer from 1 to 30"), (["0"], "from 1 to 30"), (["9" * 5000], "from 1 to 30"),
    (["window"], "there is no bug 'window'"), (["²"], "there is no bug"), (["--show"], "--show needs the number"),
    (["7", "--markdown"], "leave out the number"),
])  # fmt: skip
def test_misuse_is_one_line(call, arguments, message):
    code, out, err = call("zoo", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_without_hypothesis_the_message_says_how_to_install_it(call, monkeypatch):
    monkeypatch.setattr(comparison, "find_spec", lambda name: None)
    code, _, err = call("zoo", "24", "--show")
    assert code == 2 and "[test]" in err
