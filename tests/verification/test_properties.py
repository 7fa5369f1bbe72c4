"""A right engine with every operation passes. Each planted bug is found by the property that is about it."""

import inspect

import pytest
from direct_engine import SOURCE, direct_engines, planted
from planted_bugs import CACHE_BUGS, GENERATION_BUGS, SAMPLING_BUGS

from minillm.verification.properties import PROPERTIES

BUGS = CACHE_BUGS | GENERATION_BUGS | SAMPLING_BUGS
FLOAT16 = 'DTYPE = "float64"', 'DTYPE = "float16"'
EXAMPLES = {"any_schedule": 30}


def search(name, source=SOURCE, tolerance=1e-9, examples=60):
    PROPERTIES[name].search(direct_engines(source, tolerance), EXAMPLES.get(name, examples))


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_right_engine_passes(name):
    search(name, examples=15)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug):
    right, wrong, name = BUGS[bug]
    with pytest.raises((AssertionError, ValueError, IndexError)):
        search(name, planted(right, wrong))


def test_every_property_finds_a_bug():
    assert {name for *_, name in BUGS.values()} | {"chunked_prefill_is_whole_prefill"} >= set(PROPERTIES)


def test_every_property_says_what_must_hold():
    for one in PROPERTIES.values():
        assert " must " in one.sentence
        assert one.sentence.endswith(".") and "\n" not in one.sentence


def test_every_operation_is_in_the_table():
    from minillm.verification.engine_protocol import Engine

    methods = {name for name, _ in inspect.getmembers(Engine, inspect.isfunction) if not name.startswith("_")}
    helpers = {"has", "edited", "assert_same", "assert_length", "fail", "add_difference", "add_tie"}
    assert methods - helpers == {name for one in PROPERTIES.values() for name in one.needs}
