"""A search draws new examples until its end, the same ones on every run, and others with another seed."""

import pytest
from hypothesis import assume, core
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from minillm.verification.properties import EXAMPLES, run_property

LISTS = st.lists(st.integers(0, 99), min_size=1, max_size=8)


def drawn():
    """The examples of a search."""
    examples = []
    run_property(lambda _, data: examples.append((data.draw(LISTS), data.draw(LISTS))), st.none())
    return examples


def test_most_examples_are_new():
    numbers = [number for first, second in drawn() for number in {*first, *second}]
    assert len(drawn()) == EXAMPLES
    assert len(set(numbers)) > 80  # of 100: copies of a few examples would have a third of them


def test_a_seed_draws_other_examples(monkeypatch):
    usual = drawn()
    assert drawn() == usual
    monkeypatch.setattr(core, "global_force_seed", 1)
    other = drawn()
    assert other == drawn() != usual


def test_a_round_without_an_example_does_not_end_a_search():
    tried = []

    def only_early(_, data):
        assume(len(tried) < 15)
        tried.append(data.draw(LISTS))

    run_property(only_early, st.none())
    assert len(tried) == 15


def test_a_search_without_any_example_says_so():
    with pytest.raises(Unsatisfiable):
        run_property(lambda _, data: assume(False), st.none())
