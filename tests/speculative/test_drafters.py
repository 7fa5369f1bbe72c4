"""What the drafters propose, and which are refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import random_model
from test_checks import CONFIG, MODEL
from test_generation import TEXT_MODEL
from tiny_tokenizer import llama2_tokenizer

import minillm
from minillm import PromptLookup, Sampling
from minillm.speculative.drafters import LONGEST_MATCH, Draft, ModelDrafter

GENERATOR = np.random.default_rng(0)


def looked_up(sequence, k):
    return PromptLookup().propose(sequence, k, Sampling(), GENERATOR).tokens


@pytest.mark.parametrize(
    ("sequence", "k", "expected"),
    [
        ([1, 2, 3, 4, 9, 1, 2, 3], 2, [4, 9]),  # three tokens match
        ([*range(20), 50, *range(9, 20), 60, *range(5, 20)], 2, [50, 9]),  # fifteen, though eleven are nearer
        ([5, 3, 6, 2, 3, 7, 9, 2, 3], 1, [7]),  # two, which is better than one
        ([3, 6, 3, 7, 9, 3], 2, [7, 9]),  # the latest of two
        ([1, 2, 1], 5, [2, 1, 2, 1, 2]),  # on into its own draft tokens
        ([4, 4], 3, [4, 4, 4]),
        ([1, 2, 3], 4, []),
        ([1], 4, []),
    ],
)
def test_prompt_lookup(sequence, k, expected):
    assert looked_up(sequence, k) == expected


@given(sequence=st.lists(st.integers(0, 2), min_size=1, max_size=60))
def test_the_longest_match_wins_and_of_those_the_latest(sequence):
    """Against every index and length, tried one by one."""
    found, last = (0, 0), len(sequence)
    for matched in range(1, LONGEST_MATCH + 1):
        for end in range(matched, last):
            if sequence[end - matched : end] == sequence[last - matched :]:
                found = (end, matched)
    draft = PromptLookup().propose(sequence, 1, Sampling(), GENERATOR)
    assert (draft.tokens, draft.matched) == ([sequence[found[0]]] if found[1] else [], found[1])


@pytest.mark.parametrize("common", [15, 16, 17, 20])
def test_sixteen_tokens_are_compared_and_no_more(common):
    """The earlier match has `common` tokens, the later 16. From 16 on they are equally long, and the later wins."""
    text = list(range(100, 140))
    end = text[-20:]
    sequence = [0, *end[-common:], 1, 0, *end[-16:], 2, 0, *end]
    draft = minillm.PromptLookup().propose(sequence, 1, minillm.Sampling(), None)
    assert (draft.tokens, draft.matched) == ([2], 16)


def test_prompt_lookup_is_certain():
    draft = PromptLookup().propose([1, 2, 1], 2, Sampling(temperature=1.0), GENERATOR)
    assert np.array_equal(draft.probs_of(0, 4), [0, 0, 1, 0])


def test_sixteen_tokens_are_compared_and_not_one_more():
    """Of two matches of at least 16 tokens the latest wins, also if the earlier is longer."""
    assert LONGEST_MATCH == 16
    recent = list(range(100, 116))
    for longer, expected in ((15, 1), (16, 2), (17, 2)):  # tokens of the later match; the earlier has 17
        sequence = [50, *recent, 1, *[50, *recent][17 - longer :], 2, 50, *recent]
        draft = PromptLookup().propose(sequence, 1, Sampling(), None)
        assert (draft.tokens, draft.matched) == ([expected], 16)


def test_a_draft_model_runs_each_verified_token_once():
    """After a round in which everything was accepted it reads two tokens, otherwise one."""
    drafter, read = ModelDrafter(MODEL, 16, CONFIG.vocab_size), []
    assert drafter.propose([1, 2, 3], 2, Sampling(), GENERATOR).tokens == minillm.naive_decode(MODEL, [1, 2, 3], 2)
    assert drafter.cache.length == 4  # the last draft token was not fed
    for sequence in ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6]):
        drafter.truncate(3)
        read.append(len(sequence) - drafter.cache.length)
        assert drafter.propose(sequence, 1, Sampling(), GENERATOR).tokens == minillm.naive_decode(MODEL, sequence, 1)
    assert read == [1, 3]


def test_a_draft_model_stops_where_its_context_ends():
    drafter = ModelDrafter(MODEL, 100, CONFIG.vocab_size)
    assert len(drafter.propose([1] * 14, 9, Sampling(), GENERATOR).tokens) == 3  # 14, and two that are fed back
    assert len(ModelDrafter(MODEL, 100, CONFIG.vocab_size).propose([1] * 17, 9, Sampling(), GENERATOR).tokens) == 0


def test_skipped_layers_share_the_others_weights():
    config = dataclasses.replace(CONFIG, num_hidden_layers=6, sliding_windows=(None, 1, 2, 3, 4, 5))
    model, _ = random_model(config, 0)
    draft = minillm.skip_layers(model)
    assert [id(layer) for layer in draft.layer_weights] == [id(model.layer_weights[n]) for n in (0, 2, 4, 5)]
    assert draft.config.sliding_windows == (None, 2, 4, 5)
    assert draft.name == f"{model.name} without layers"
    kept = minillm.skip_layers(model, range(6))
    assert np.array_equal(minillm.forward(kept, [1, 2, 3]), minillm.forward(model, [1, 2, 3]))


@pytest.mark.parametrize("kept", [[], [6], [-1], [1, 0], [0, 0]])
def test_layers_that_cannot_be_kept(kept):
    with pytest.raises(ValueError, match=r"layer|kept"):
        minillm.skip_layers(MODEL, kept)


def test_a_draft_with_another_vocabulary_is_refused():
    wider, _ = random_model(dataclasses.replace(CONFIG, vocab_size=14), 0)
    with pytest.raises(ValueError, match="vocabularies, of 14 and 13 tokens, are not the same; use"):
        minillm.speculative_generate(MODEL, wider, [1])
    unknown = dataclasses.replace(TEXT_MODEL, config=dataclasses.replace(TEXT_MODEL.config, vocab_size=300))
    with pytest.raises(ValueError, match="vocabularies, of 300 and 261 tokens"):  # the one has no tokenizer
        minillm.speculative_generate(TEXT_MODEL, dataclasses.replace(unknown, stored_tokenizer=None), [1])
    other_words = dataclasses.replace(TEXT_MODEL, stored_tokenizer=llama2_tokenizer())
    with pytest.raises(ValueError, match="are not the same"):
        minillm.speculative_generate(TEXT_MODEL, other_words, [1])
    same_words = dataclasses.replace(TEXT_MODEL)
    assert minillm.speculative_generate(TEXT_MODEL, same_words, [1], 3).tokens


@pytest.mark.parametrize(
    ("proposed", "message"),
    [
        (None, "proposed a value of type NoneType; expected a minillm.Draft"),
        (([5], None), "proposed a value of type tuple; expected a minillm.Draft"),
        (Draft([5, 6], [np.ones(1)]), "proposed 2 tokens with 1 distribution; expected one each"),
    ],
)
def test_a_drafter_that_proposes_something_else_is_told_so(proposed, message):
    class Wrong:
        free = True

        def propose(self, sequence, k, sampling, generator):
            return proposed

        def truncate(self, length):
            pass

    with pytest.raises(ValueError, match=message):
        minillm.speculative_generate(MODEL, Wrong(), [1, 2], 6, k=3)
