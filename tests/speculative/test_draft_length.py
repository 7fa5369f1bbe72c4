"""The adaptive k: follows acceptance and costs, stops where speculation would lose, and begins again."""

import itertools

import numpy as np
import pytest
from bigrams import bigram_model
from test_checks import MODEL

import minillm
from minillm import PromptLookup, Sampling
from minillm.speculative.costs import TableCosts
from minillm.speculative.draft_length import (
    LONGEST_DRAFT,
    LONGEST_PAUSE,
    MAX_DRAFT_TOKENS,
    AdaptiveLength,
    LookupLength,
    match_kind,
)
from minillm.speculative.drafters import LONGEST_MATCH, Draft, ModelDrafter
from minillm.speculative.generation import SpeculativeGeneration

GENERATOR = np.random.default_rng(0)
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


def test_free_guesses_are_watched_while_nothing_is_verified():
    length, guesses = LookupLength(TableCosts(MODEL, PromptLookup())), Draft([1] * LONGEST_DRAFT, matched=9)
    assert length.choose() == LONGEST_DRAFT and length.keep(guesses) == 0  # one of two: does not pay yet
    for _ in range(40):
        length.observe(guesses.first(1), 1)
    assert length.keep(guesses) == LONGEST_DRAFT and length.keep(guesses.first(4)) == 4 and length.keep(Draft([])) == 0
    for _ in range(10):
        length.observe(guesses, 0)
    assert length.choose() == LONGEST_DRAFT and length.keep(guesses) == 0


def test_matches_of_different_lengths_are_counted_apart():
    length = LookupLength(Costs(0.0))
    for _ in range(50):
        length.observe(Draft([1] * 3, matched=1), 2)  # right after 1 and 2 matching tokens, wrong after 3
        length.observe(Draft([1] * 9, matched=LONGEST_MATCH), 9)
    rates = [accepted / observed for accepted, observed in zip(length.accepted, length.observed, strict=True)]
    assert rates[:2] == [0.5, pytest.approx(1, abs=0.01)] and 0.4 < rates[2] < 0.6 and rates[3:5] == [0.5, 0.5]
    assert rates[match_kind(LONGEST_MATCH + 100)] == rates[-1] == pytest.approx(1, abs=0.01)
    assert [match_kind(matched) for matched in (0, 1, 2, 3, 4, 7, 8, 15, 16)] == [0, 1, 2, 2, 3, 3, 4, 4, 5]


def test_only_what_pays_is_verified():
    """The text quotes itself after long matches, and goes on differently after short ones."""
    quote = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7]
    length = LookupLength(TableCosts(MODEL, PromptLookup()))
    for _ in range(10):
        for matched, accepted in ((12, LONGEST_DRAFT), (1, 0)):
            length.observe(Draft([1] * LONGEST_DRAFT, matched=matched), accepted)
    drafts = [
        PromptLookup().propose(text, LONGEST_DRAFT, Sampling(), GENERATOR) for text in (2 * quote, [*quote, 0, 3])
    ]
    assert [draft.matched for draft in drafts] == [14, 1]
    assert [length.keep(draft) for draft in drafts] == [LONGEST_DRAFT, 0]


def test_what_is_accepted_decides():
    length = AdaptiveLength(Costs(0.1))
    for rate, best in ((0.5, 2), (0.7, 4), (0.9, 10)):  # Leviathan et al.'s best for c = 0.1
        length.accepted, length.observed = rate * 10, 10.0
        assert length.choose() == best
    for _ in range(60):
        length.observe(Draft([1] * 5), 4)  # four accepted, then a rejected one; what stands behind that is not counted
    assert 0.7 < length.accepted / length.observed < 0.8
    assert length.observed == pytest.approx(20, abs=0.01)


def test_a_draft_that_loses_is_tried_again_after_ever_longer_pauses():
    """Up to the longest, so that a long text that becomes easy is noticed."""
    length, chosen = AdaptiveLength(Costs(0.9)), []
    for _ in range(4 * LONGEST_PAUSE):
        chosen.append(length.choose())
        length.observe(Draft([1] * chosen[-1]), 0)
    tries = [place for place, k in enumerate(chosen) if k]
    assert tries[:2] == [0, 1] and set(chosen) == {0, 1}
    assert [second - first for first, second in zip(tries[::2], tries[1::2], strict=False)] == [1] * (len(tries) // 2)
    pauses = [later - earlier - 3 for earlier, later in itertools.pairwise(tries[::2])]
    assert pauses == [16, 32, 64, 128, 256, 256]


def test_tiles_make_verifying_cheaper(monkeypatch):
    costs = []
    for paying in (False, True):
        monkeypatch.setattr("minillm.backends.fast.tiling_pays", lambda paying=paying: paying)
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
def test_text_that_repeats_itself_takes_few_rounds(temperature):
    out = minillm.speculative_generate(CYCLE, PromptLookup(), [0], 80, Sampling(temperature, seed=1, ignore_eos=True))
    assert out.rounds < 25
    assert out.accepted > 55


def test_text_that_does_not_is_left_alone():
    out = minillm.speculative_generate(WANDERING, PromptLookup(), [0], 80, Sampling(1.0, seed=1, ignore_eos=True))
    assert out.proposed < 10 and out.rounds > 70


@pytest.mark.parametrize("right", [True, False])
def test_a_draft_model_gets_as_much_as_it_earns(right, monkeypatch):
    """One that is always right guesses as far as the table allows, and one that never is soon nothing."""
    monkeypatch.setattr("minillm.speculative.costs.cpu_draft_cost", lambda draft, target: 0.05)
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
    assert set(generation.speculation.counts.lengths) == {MAX_DRAFT_TOKENS, 1199 - 2 * (MAX_DRAFT_TOKENS + 1) - 1}
