"""A search draws new examples until its end, the same ones on every run, and others with another seed."""

import pytest
from hypothesis import assume, core
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from minillm.verification.properties import EXAMPLES, run_property, run_rounds
from minillm.verification.refusals import Patience

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


def test_a_round_without_an_example_ends_only_a_search_that_had_none_before():
    patience, rounds = Patience(), []

    def run_round(number, count):
        rounds.append((number, count))
        if number > 0:
            raise Unsatisfiable

    with pytest.raises(Unsatisfiable):
        run_rounds(run_round, 25, patience)
    rounds.clear()
    patience.tried = True
    run_rounds(run_round, 25, patience)
    assert rounds == [(0, 10), (1, 10), (2, 5)]


def test_a_search_without_any_example_says_so():
    with pytest.raises(Unsatisfiable):
        run_property(lambda _, data: assume(False), st.none())
