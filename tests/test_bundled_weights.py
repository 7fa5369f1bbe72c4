"""The models that ship with minillm: small, whole, a pair, and able to do what their cards say."""

import socket

import numpy as np
import pytest
from corpus import probes
from evaluate_weights import acceptance, correct

import minillm
from minillm.loading.registry import REGISTRY
from minillm.support.shipped import shipped
from minillm.training.parameters import tensor_shapes

BUNDLED = [name for name, model in REGISTRY.items() if model.make is None]


@pytest.fixture(scope="module")
def story() -> minillm.Model:
    return minillm.load("story")


@pytest.fixture(scope="module")
def draft() -> minillm.Model:
    return minillm.load("story-draft")


def test_they_are_small_and_the_draft_is_a_tenth():
    counts = {}
    for name in BUNDLED:
        config = minillm.load(name).config
        counts[name] = sum(int(np.prod(shape)) for shape in tensor_shapes(config).values())
        assert counts[name] == REGISTRY[name].parameters
    assert 2e6 <= counts["story"] <= 4e6
    assert counts["story-draft"] <= counts["story"] / 10
    assert sum(file.stat().st_size for file in shipped("weights").rglob("*") if file.is_file()) <= 10_000_000


def test_they_share_a_tokenizer_and_an_end(story, draft):
    files = [(shipped("weights") / name / "tokenizer.json").read_bytes() for name in BUNDLED]
    assert files[0] == files[1]
    assert story.config.eos_token_ids == draft.config.eos_token_ids == (0,)
    assert story.tokenizer.decode([0]) == "<|endoftext|>"
    assert story.config.vocab_size == draft.config.vocab_size == story.tokenizer.vocab_size


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("The capital of France is", " Paris."),
        ("Q: What is the capital of France? A:", " Paris."),
        ("Q: What is 23 + 45? A:", " 68."),
        ("The opposite of hot is", " cold."),
        ("Q: What does the cow say? A:", " Moo."),
        ("The day after Monday is", " Tuesday."),
        ("Count from 3 to 9:", " 3, 4, 5, 6, 7, 8, 9."),
    ],
)
def test_story_knows_and_then_ends_without_any_network(story, monkeypatch, prompt, answer):
    monkeypatch.setattr(socket, "socket", None)
    out = minillm.generate(story, prompt)
    assert (out.text, out.finish_reason) == (answer, "eos")


def test_story_answers_a_bare_question(story):
    assert minillm.generate(story, "What is the capital of France?").text.endswith("Paris.")


def test_every_capital_in_both_phrasings(story):
    group = probes.capital_probes()
    wrong = [probe.prompt for probe, right in zip(group, correct(story, group), strict=True) if not right]
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sums", "counting", "copy"])
def test_what_was_held_out_is_answered_as_the_card_says(story, name):
    group = probes.all_probes()[name][::7]
    assert np.mean(correct(story, group)) >= 0.95


def test_the_draft_agrees_with_its_target_on_stories(story, draft):
    openings = ["Once upon a time, there was a little girl named Lily.", "One day, Tom", "There once was a small boy"]
    assert acceptance(story, draft, openings) >= 0.75
