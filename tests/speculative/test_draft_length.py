"""The adaptive k: follows acceptance and costs, never loses more than its budget, and tries again."""

import dataclasses

import numpy as np
import pytest
from bigrams import bigram_model
from test_checks import CONFIG, MODEL

import minillm
from minillm import Draft, PromptLookup, Sampling
from minillm.backends import get_backend
from minillm.backends.plain import Plain
from minillm.estimate.speculation import best_k
from minillm.speculative import SpeculativeGeneration, Speculator
from minillm.speculative.draft_length import (
    BUDGET,
    INCOME,
    LONGEST_DRAFT,
    MAX_DRAFT_TOKENS,
    AdaptiveLength,
    Budget,
    CountedLength,
    LookupLength,
)

GENERATOR = np.random.default_rng(0)
CYCLE = bigram_model([[0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [9.0, 0.0, 0.0]], max_position_embeddings=400)
LONG = bigram_model([[0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [9.0, 0.0, 0.0]], max_position_embeddings=4000)
WANDERING = bigram_model([[0.0] * 3] * 3, max_position_embeddings=400)


def papers_costs(draft_cost):
    """Costs of rounds as the papers have them: a pass of any number of rows costs one step."""
    return [k * draft_cost + 1 for k in range(LONGEST_DRAFT + 1)]


LOOKUP_COSTS = [Plain().cost_of_rows(k + 1) for k in range(LONGEST_DRAFT + 1)]


def test_what_is_accepted_decides():
    length = AdaptiveLength(papers_costs(0.1), 0.1)
    for rate, best in ((0.5, 2), (0.7, 4), (0.9, 10)):  # Leviathan et al.'s best for c = 0.1
        length.accepted, length.judged = rate * 10, 10.0
        assert length.choose() == best
    for _ in range(60):
        length.observe(Draft([1] * 9), [1, 1, 1, 1, 2])  # four accepted, one rejected, the others not judged
    assert 0.7 < length.accepted / length.judged < 0.85
    assert length.judged == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("acceptance", [0.05, 0.3, 0.5, 0.7, 0.85, 0.99])
@pytest.mark.parametrize("draft_cost", [0.0, 0.05, 0.3])
def test_the_choice_is_that_of_the_theory(acceptance, draft_cost):
    costs = [k * draft_cost + Plain().cost_of_rows(k + 1) for k in range(LONGEST_DRAFT + 1)]
    expected = best_k(acceptance, draft_cost, LONGEST_DRAFT, Plain().cost_of_rows)
    assert CountedLength(costs, acceptance, 1.0).choose() == expected


def test_tokens_after_the_end_of_a_round_are_not_judged():
    """A round may end inside a draft without a rejection: at an end-of-sequence token, for example."""
    length = CountedLength(papers_costs(0.1), 0.0, 0.0)
    length.observe(Draft([1, 2, 3]), [1, 2])
    assert (length.accepted, length.judged) == (pytest.approx(1.95), pytest.approx(1.95))
    length.observe(Draft([]), [5])
    assert length.judged == pytest.approx(1.95)


def decode(length, accepted, tokens):
    """Return the decode steps that `tokens` tokens take, if accepted(place) draft tokens are right."""
    steps = done = unread = 0
    while done < tokens:
        k = length.choose()
        assert length.choose() == k  # asking changes nothing: an interrupted round asks again
        draft = Draft([1] * k)
        verified = draft.first(length.keep(draft))
        right = min(len(verified.tokens), accepted(done))
        steps += length.costs[len(verified.tokens)] + (0.04 * getattr(length, "draft_cost", 0) * unread if k else 0)
        unread = 0 if k else unread + 1
        length.observe(draft, [1] * right + [2])
        done += right + 1
    return steps


@pytest.mark.parametrize(
    ("table", "draft_cost"),
    [(Plain.row_costs, 0.17), (Plain.row_costs, 0.9), ({1: 1.0, 4: 1.65, 8: 2.25, 16: 3.35}, 0.5), ({1: 1.0}, 0.05)],
)
def test_no_draft_loses_more_than_the_budget(table, draft_cost):
    """Drafts that are always wrong, that get worse, and that deceive: right until drafts are long, then wrong."""
    ops = Plain()
    ops.row_costs = table
    costs = [k * draft_cost + ops.cost_of_rows(k + 1) for k in range(LONGEST_DRAFT + 1)]
    random = np.random.default_rng(0)
    for accepted in (
        lambda place: 0,
        lambda place: 15 if place < 40 else 0,
        lambda place: place % 2,
        lambda place: int(random.geometric(0.3)) - 1,
    ):
        for length in (AdaptiveLength(costs, draft_cost), LookupLength(ops_costs(ops))):
            tokens = 120
            assert decode(length, accepted, tokens) <= tokens + LONGEST_DRAFT + BUDGET + INCOME * tokens
    assert decode(AdaptiveLength(costs, draft_cost), lambda place: 0, 200) < 200 / 0.97


def ops_costs(ops):
    return [ops.cost_of_rows(k + 1) for k in range(LONGEST_DRAFT + 1)]


def test_a_budget_pays_for_the_worst_case():
    budget = Budget()
    assert budget.longest([1, 2, 4, 4.1]) == 2
    budget.record(4, 1)  # all rejected
    assert budget.left == pytest.approx(INCOME) and budget.longest([1, 1.1]) == 0
    for _ in range(8):
        budget.record(1, 1)
    assert budget.longest([1, 1.1]) == 1  # it is tried again
    budget.record(1, 100)
    assert budget.left == 10  # of what was gained, this is kept


def test_a_draft_that_never_pays_is_never_tried():
    length = AdaptiveLength(papers_costs(1.0), 1.0)
    for _ in range(80):
        assert length.choose() == 0
        length.observe(Draft([]), [0])


def test_a_text_that_becomes_easy_is_noticed():
    costs = [k * 0.1 + Plain().cost_of_rows(k + 1) for k in range(LONGEST_DRAFT + 1)]
    length, chosen = AdaptiveLength(costs, 0.1), []
    for index in range(300):
        chosen.append(length.choose())
        length.observe(Draft([1] * chosen[-1]), [1] * (chosen[-1] + 1) if index > 50 else [0])
    assert set(chosen[35:50]) == {0} and min(chosen[200:]) > 5


def test_a_draft_model_that_was_left_out_reads_first():
    """The more it has to read, the longer the budget has to wait."""
    tried = []
    for draft_cost in (0.0, 0.15, 0.25):
        length = AdaptiveLength([1.0, 1.3], draft_cost)
        length.budget.left = 0.0
        rounds = 0
        while not length.choose():
            length.observe(Draft([]), [0])
            rounds += 1
        tried.append(rounds)
    assert tried == pytest.approx([25, 50, 150], abs=1)


def test_what_a_draft_model_read_is_paid():
    length = AdaptiveLength([1.0, 1.3], 0.5)
    for _ in range(10):
        length.observe(Draft([]), [0])
    left = length.budget.left
    length.observe(Draft([1]), [0])
    assert length.budget.left == pytest.approx(left + INCOME - 0.3 - 0.5 * 0.04 * 10)


def test_a_free_draft_is_verified_as_far_as_the_budget_pays():
    length, draft = LookupLength(LOOKUP_COSTS), Draft([1] * LONGEST_DRAFT, matched=9)
    for _ in range(40):
        length.observe(draft, [1] * (length.keep(draft) + 1))
    length.budget.left = 0.9
    assert length.keep(draft) == 2  # three rows cost 0.83 more than one, four 1.13
    length.budget.left = 0.5
    assert length.keep(draft) == 0


def test_free_drafts_are_compared_while_nothing_is_verified():
    length, draft = LookupLength(LOOKUP_COSTS), Draft([1] * LONGEST_DRAFT, matched=9)
    assert length.choose() == LONGEST_DRAFT and length.keep(draft) == 0  # one of two: does not pay
    for _ in range(40):
        length.observe(draft, [1] * (length.keep(draft) + 1))
    assert length.keep(draft) > 8 and length.keep(draft.first(4)) == 4 and length.keep(Draft([])) == 0
    for _ in range(20):
        length.observe(draft, [2])
    assert length.choose() == LONGEST_DRAFT and length.keep(draft) == 0


def test_only_what_pays_is_verified():
    """The text quotes itself after long matches, and goes on differently after matches of one token."""
    quote = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7]
    length = LookupLength(LOOKUP_COSTS)
    for _ in range(10):
        length.observe(Draft([1] * LONGEST_DRAFT, matched=12), [1] * LONGEST_DRAFT)
        length.observe(Draft([1] * LONGEST_DRAFT, matched=1), [2])
    drafts = [
        PromptLookup().propose(text, LONGEST_DRAFT, Sampling(), GENERATOR) for text in (2 * quote, [*quote, 0, 3])
    ]
    assert [draft.matched for draft in drafts] == [14, 1]
    assert [length.keep(draft) for draft in drafts] == [LONGEST_DRAFT, 0]


def test_matches_are_counted_by_their_length():
    length = LookupLength(LOOKUP_COSTS)
    kinds = {id(length._counts(Draft([], matched=matched))): matched for matched in range(17)}
    assert list(kinds.values()) == [0, 1, 3, 16]  # the longest of each
    for _ in range(20):
        length.observe(Draft([1] * 3, matched=2), [1, 1, 1, 1])
    kept = [length.keep(Draft([1] * 3, matched=matched)) for matched in (1, 2, 3, 4)]
    assert kept == [0, 3, 3, 0]


def test_the_cost_of_rows_lies_on_lines_between_the_known_ones():
    ops = Plain()
    assert [ops.cost_of_rows(rows) for rows in (1, 2, 3, 4, 16)] == pytest.approx([1, 1.53, 1.83, 2.13, 2.97])
    assert ops.cost_of_rows(64) == pytest.approx(4 * 2.97)  # in proportion
    costs = [ops.cost_of_rows(rows) for rows in range(1, 40)]
    assert costs == sorted(costs)


def test_a_draft_costs_the_reading_of_its_weights_and_its_layers_calls():
    """By hand: 9 million numbers a layer, 20 million in the head, 4 bytes each at 20 GB/s; and 47 us a layer."""
    sizes = {"hidden_size": 1000, "intermediate_size": 2000, "head_dim": 100, "num_attention_heads": 10,
             "num_key_value_heads": 5, "vocab_size": 20_000}  # fmt: skip
    draft, target = (dataclasses.replace(CONFIG, num_hidden_layers=layers, **sizes) for layers in (2, 10))
    assert Plain().step_seconds(draft, "float32") == pytest.approx(0.0076 + 0.000094, rel=1e-12)
    assert Plain().step_seconds(target, "float32") == pytest.approx(0.022 + 0.00047, rel=1e-12)
    assert Plain().step_seconds(target, "bfloat16") == pytest.approx(0.011 + 0.00047, rel=1e-12)


@pytest.mark.compiled
def test_rows_cost_more_steps_where_a_step_is_faster():
    ops = get_backend("compiled")
    assert [ops.cost_of_rows(16, weights) for weights in ("float32", "int8", "stored")] == [2.07, 3.17, 3.17]
    target = minillm.load("story-draft", "compiled", weights="int8")
    assert Speculator(target, PromptLookup())._costs[15] == 3.17


def test_a_draft_model_costs_its_share_of_a_step():
    target, draft = (minillm.load(name) for name in ("story", "story-draft"))
    rounds, free_rounds = (Speculator(target, drafter)._costs for drafter in (draft, PromptLookup()))
    assert free_rounds == [target.ops.cost_of_rows(k + 1) for k in range(LONGEST_DRAFT + 1)]
    extra = [cost - free for cost, free in zip(rounds, free_rounds, strict=True)]
    assert extra[0] == 0 and 0.05 < extra[1] < 0.5 and extra[10] == pytest.approx(10 * extra[1])


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
    """One that is always right drafts as far as the table allows, and one that never is soon drafts nothing."""
    monkeypatch.setattr("minillm.speculative.speculator.draft_step_cost", lambda draft, target: 0.05)
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


def test_a_seed_gives_the_same_text_at_any_speed():
    """Only counts and the table decide."""
    sampling = Sampling(1.3, seed=3, ignore_eos=True)
    first, second = (minillm.speculative_generate(WANDERING, CYCLE, [1, 2], 50, sampling) for _ in range(2))
    assert (first.tokens, first.proposed, first.rounds) == (second.tokens, second.proposed, second.rounds)


@pytest.mark.parametrize(("k", "most"), [(3, 3), ("auto", LONGEST_DRAFT), (10**9, MAX_DRAFT_TOKENS)])
def test_the_most_draft_tokens_of_a_round(k, most):
    assert Speculator(MODEL, MODEL, k).max_draft_tokens == most
