"""The adaptive k: follows acceptance and costs, stops where speculation would lose, and begins again."""

import dataclasses
import itertools

import pytest
from bigrams import bigram_model
from test_checks import MODEL

import minillm
from minillm import PromptLookup, Sampling
from minillm.draft_length import FIRST_PAUSE, LONGEST_DRAFT, MOST_GUESSES, AdaptiveLength, MeasuredCosts, TableCosts
from minillm.drafters import ModelDrafter
from minillm.speculative_generation import SpeculativeGeneration

CYCLE = bigram_model([[0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [9.0, 0.0, 0.0]], max_position_embeddings=400)
LONG = bigram_model([[0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [9.0, 0.0, 0.0]], max_position_embeddings=4000)
WANDERING = bigram_model([[0.0] * 3] * 3, max_position_embeddings=400)


class Costs:
    """Costs as the papers have them: verifying any number of rows is one step."""

    def __init__(self, draft):
        self.of_a_guess = draft

    def draft(self):
        return self.of_a_guess

    def verify(self, rows):
        return 1.0


def test_free_guesses_are_watched_while_nothing_is_drafted():
    table = TableCosts(MODEL, PromptLookup())
    length = AdaptiveLength(table, free=True)
    assert length.watches and length.choose() == 0  # one of two: does not pay yet
    for _ in range(40):
        length.note(1, 1)
    assert length.choose() == LONGEST_DRAFT
    for _ in range(10):
        length.note(LONGEST_DRAFT, 0)
    assert length.choose() == 0


def test_what_is_accepted_decides():
    length = AdaptiveLength(Costs(0.1), free=False)
    for rate, best in ((0.5, 2), (0.7, 4), (0.9, 10)):  # Leviathan et al.'s best for c = 0.1
        length.accepted, length.observed = rate * 10, 10.0
        assert length.choose() == best
    for _ in range(60):
        length.note(5, 4)  # four accepted, then a rejected one; what stands behind that is not counted
    assert 0.7 < length.accepted / length.observed < 0.8
    assert length.observed == pytest.approx(20, abs=0.01)


def test_a_draft_that_loses_is_tried_again_after_ever_longer_pauses():
    length, chosen = AdaptiveLength(Costs(0.9), free=False), []
    for _ in range(16 * FIRST_PAUSE):
        chosen.append(length.choose())
        length.note(chosen[-1], 0)
    tries = [place for place, k in enumerate(chosen) if k]
    pauses = [later - earlier - 2 for earlier, later in itertools.pairwise(tries)]
    assert tries[0] == 0 and set(chosen) == {0, 1}
    assert pauses == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE][: len(pauses)]


def test_costs_by_the_clock():
    drafter = ModelDrafter(MODEL, 8)
    table = TableCosts(MODEL, drafter)
    costs = MeasuredCosts(table)
    assert costs.draft() == table.draft() == 1.0 and costs.verify(4) == table.verify(4)
    costs.note(0, 0.0, 0.010)
    costs.note(1, 0.002, 0.015)
    costs.note(1, 0.009, 0.090)  # the machine was busy
    assert costs.draft() == pytest.approx(0.2)
    assert costs.verify(2) == pytest.approx(1.5)
    excess = (table.verify(4) - 1) * 0.5 / (table.verify(2) - 1)  # as two rows did, compared with the table
    assert costs.verify(4) == pytest.approx(1 + excess)


def test_tiles_make_verifying_cheaper(monkeypatch):
    costs = []
    for paying in (False, True):
        monkeypatch.setattr("minillm.backends.fast.tiles_pay", lambda paying=paying: paying)
        costs.append(TableCosts(minillm.load("story-draft"), PromptLookup()))
    ordinary, tiled = costs
    assert ordinary.verify(1) == tiled.verify(1) == 1
    assert all(tiled.verify(rows) < ordinary.verify(rows) for rows in range(2, 17))
    assert all(tiled.verify(rows) < tiled.verify(rows + 1) for rows in range(1, 16))


def test_a_smaller_draft_costs_less():
    draft, target = (minillm.load(name) for name in ("story-draft", "story"))
    assert 0.05 < TableCosts(target, ModelDrafter(draft, 8)).draft() < 0.5
    assert TableCosts(target, PromptLookup()).draft() == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_text_that_repeats_itself_takes_few_rounds(temperature, monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr("minillm.speculative_generation.perf_counter", lambda: float(next(seconds)))
    out = minillm.speculative_generate(CYCLE, PromptLookup(), [0], 80, Sampling(temperature, seed=1, ignore_eos=True))
    assert out.rounds < 25
    assert out.accepted > 55


def test_text_that_does_not_is_left_alone():
    out = minillm.speculative_generate(WANDERING, PromptLookup(), [0], 80, Sampling(1.0, seed=1, ignore_eos=True))
    assert out.proposed < 10 and out.rounds > 70


@pytest.mark.parametrize("right", [True, False])
def test_a_draft_model_gets_as_much_as_it_earns(right, monkeypatch):
    """One that is always right guesses as far as the table allows, and one that never is soon nothing."""
    monkeypatch.setattr("minillm.draft_length.cpu_draft_cost", lambda draft, target: 0.05)
    draft = CYCLE if right else bigram_model([[0, 0, 9], [9, 0, 0], [0, 9, 0]], max_position_embeddings=400)
    generation = SpeculativeGeneration(CYCLE, draft, [0], 150, Sampling(0.1, seed=1, ignore_eos=True))
    for _ in generation:
        pass
    counts = generation.speculation.counts
    if right:
        assert counts.accepted == counts.proposed and counts.lengths[LONGEST_DRAFT] >= 5
    else:
        assert counts.accepted == 0 and counts.lengths[0] > 120


def test_a_huge_k_is_one_pass_of_bounded_length():
    generation = SpeculativeGeneration(LONG, PromptLookup(), [0, 1, 2] * 300, 1200, Sampling(ignore_eos=True), 10**9)
    for _ in generation:
        pass
    assert set(generation.speculation.counts.lengths) == {MOST_GUESSES, 1199 - 2 * (MOST_GUESSES + 1) - 1}


def test_the_clock_never_changes_a_sampled_text(monkeypatch):
    """One seed, one text, however long anything takes."""
    draft = dataclasses.replace(CYCLE)
    sampling = Sampling(1.3, seed=3, ignore_eos=True)
    texts, seconds = [], iter(range(10**6))
    for clock in (lambda: 0.0, lambda: float(next(seconds)) ** 2):
        monkeypatch.setattr("minillm.speculative_generation.perf_counter", clock)
        texts.append(minillm.speculative_generate(WANDERING, draft, [1, 2], 50, sampling).tokens)
    assert texts[0] == texts[1]
