"""Greedy speculative text is that of naive decoding, to the bit on the exact backend, with any draft."""

import dataclasses

import pytest
from lossless import assert_greedy_is_naive
from random_models import random_model
from test_checks import CONFIG, MODEL
from test_generation import text_model

import minillm
from minillm import Sampling
from minillm.speculative.generation import SpeculativeGeneration


@pytest.mark.parametrize("k", [1, 5])
def test_a_stop_string_inside_a_round(k):
    model = text_model()
    text = minillm.generate(model, "ab", 20, Sampling(ignore_eos=True)).text
    for start in (1, 4, 6):
        sampling = Sampling(stop=[text[start : start + 2]], ignore_eos=True)
        generation = assert_greedy_is_naive(model, model, "ab", 20, sampling, k)
        assert generation.output.finish_reason == "stop"


@pytest.mark.parametrize("k", [1, 4])
def test_the_end_of_the_context_inside_a_round(k):
    out = assert_greedy_is_naive(MODEL, MODEL, [1] * 9, 100, Sampling(ignore_eos=True), k).output
    assert (len(out.tokens), out.finish_reason) == (8, "length")


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_a_draft_that_is_always_right(k):
    """Every round gives k + 1 tokens, also after rounds that accepted everything: the draft's cache is in step."""
    rounds = 12 // (k + 1)  # as many as the context holds
    generation = assert_greedy_is_naive(MODEL, MODEL, [1, 2], 1 + rounds * (k + 1), Sampling(ignore_eos=True), k)
    counts = generation.speculation.counts
    assert counts.accepted == counts.proposed == k * counts.rounds
    assert counts.rounds == rounds


def origins(draft, new_tokens):
    generation = SpeculativeGeneration(MODEL, draft, [1, 2], new_tokens, Sampling(ignore_eos=True), 3)
    return [step.origin for step in generation]


def test_steps_say_where_they_come_from():
    """The first token is the prompt's; then k accepted and a bonus, or accepted ones and a correction."""
    whole_round = [*["accepted"] * 3, "bonus"]
    assert origins(MODEL, 9) == ["", *whole_round, *whole_round]
    assert origins(MODEL, 6) == ["", *whole_round, ""]  # with one token left, there is nothing to draft
    other, _ = random_model(dataclasses.replace(CONFIG, num_hidden_layers=1, sliding_windows=(None,)), 5)
    assert {"", "corrected"} <= set(origins(other, 9))
