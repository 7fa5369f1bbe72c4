"""`minillm papers`: figures come one after the other, and while JSON is collected a terminal shows how far it is."""

import json
from contextlib import contextmanager

import pytest

from minillm.cli import papers
from minillm.evidence.papers import Figure, Kind, Ours


def figure(id, compute):
    return Figure(id, "a paper", "1", Kind.EXACT, compute)


@pytest.fixture
def two_figures(monkeypatch):
    """The second of them fails."""

    def fail():
        raise ValueError("the second failed")

    figures = [figure("first", lambda: Ours("1", True, "count reproduced")), figure("second", fail)]
    monkeypatch.setattr(papers, "all_figures", lambda: figures)


@pytest.mark.usefixtures("two_figures")
def test_a_figure_is_shown_before_the_next_is_computed(call):
    result = call("papers")
    assert "✓ first (exact): a paper" in result.out
    assert (result.code, result.err) == (2, "minillm: the second failed\n")


@pytest.mark.usefixtures("two_figures")
def test_json_is_whole_or_nothing_and_says_how_far_it_is(call, monkeypatch):
    said = []

    @contextmanager
    def progress():
        yield lambda *step: said.append(step)

    monkeypatch.setattr(papers, "progress_on_stderr", progress)
    assert (call("papers", "--json").out, said) == ("", [("first", 0, 2), ("second", 1, 2)])
    monkeypatch.setattr(papers, "find_figure", lambda id: papers.all_figures()[0])
    assert json.loads(call("papers", "first", "--json").out)["figures"][0]["ours"] == "1"


def test_several_figures_are_shown_once_each_in_this_order(call):
    out = call("papers", "erlang-c", "overload", "erlang-c").out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("✓")] == ["erlang-c", "overload"]
    assert "did you mean erlang-c?" in call("papers", "overload", "erlang").err


def test_the_help_says_that_it_takes_minutes(call):
    assert "a few minutes" in " ".join(call("papers", "--help").out.split())
