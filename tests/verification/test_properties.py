"""A right engine with every operation passes. Each planted bug is found by the property that is about it.

Bugs must not hide behind a tolerance. So they are also planted into an engine that computes in float16, and found with
the tolerance of that dtype.
"""

import inspect
import warnings

import pytest
from direct_engine import FLOAT16, SOURCE, direct_engines, planted
from hypothesis import Phase
from planted_bugs import CACHE_BUGS, GENERATION_BUGS, SAMPLING_BUGS

from minillm.verification import properties
from minillm.verification.comparison import tolerance_of
from minillm.verification.engine_protocol import Engine
from minillm.verification.properties import PROPERTIES

BUGS = CACHE_BUGS | GENERATION_BUGS | SAMPLING_BUGS
FIRST = {name: bug for bug, (*_, name) in reversed(BUGS.items())}  # of each property
PLAIN = [pytest.param(bug, marks=[] if bug in FIRST.values() else pytest.mark.slow) for bug in BUGS]
FAILURES = (AssertionError, ValueError, IndexError)  # an engine with a bug may also raise


@pytest.fixture(autouse=True)
def unshrunk(monkeypatch):
    """A counterexample is enough: the smallest one would take as long again."""
    monkeypatch.setattr(properties, "PHASES", (Phase.generate,))


def search(name, source=SOURCE, tolerance=1e-9, **examples):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # float16 overflows
        PROPERTIES[name].search(direct_engines(source, tolerance), **examples)


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_right_engine_passes(name):
    search(name, examples=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROPERTIES)
def test_a_right_engine_passes_long_searches(name):
    search(name)
    search(name, SOURCE.replace(*FLOAT16), tolerance_of("float16"))


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug):
    right, wrong, name = BUGS[bug]
    with pytest.raises(FAILURES):
        search(name, planted(right, wrong))


@pytest.mark.parametrize("bug", PLAIN)
def test_a_planted_bug_is_found_in_float16(bug):
    right, wrong, name = BUGS[bug]
    with pytest.raises(FAILURES):
        search(name, planted(right, wrong).replace(*FLOAT16), tolerance_of("float16"))


def test_every_property_finds_a_bug():
    assert set(FIRST) == set(PROPERTIES)


def test_every_property_says_what_must_hold():
    for one in PROPERTIES.values():
        assert " must " in one.sentence
        assert one.sentence.endswith(".")
        assert "\n" not in one.sentence


def test_every_operation_is_needed_by_a_property():
    methods = {name for name, _ in inspect.getmembers(Engine, inspect.isfunction) if not name.startswith("_")}
    helpers = {"has", "add_end", "assert_same", "assert_length", "fail", "add_difference", "add_tie"}
    assert methods - helpers == {name for one in PROPERTIES.values() for name in one.needs}
