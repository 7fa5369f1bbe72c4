"""The exact backend on the registry's real model: schedules, accuracy, greedy tokens, and its published hash."""

import os
import subprocess
import sys
from random import Random

import numpy as np
import pytest
from bundled import FORMAT_HASHES, PUBLISHED_HASHES
from exact_schedules import assert_any_schedule_is_naive

import minillm
from minillm import reference
from minillm.cli.main import run
from minillm.loading import open_checkpoint
from minillm.loading.build import weights_by_name

TEXTS = [
    "The tide comes in twice a day, and the harbour fills with boats: 12 of them, some blue, some red, and one that is "
    "so old that nobody knows its name. The children wave at it from the pier.",
    "The tide comes in twice a day, and so does the bread.",
    "def area(radius):\n    return 3.14159 * radius ** 2\n\nprint(area(2",
    "The capital of France is",
]


@pytest.fixture(scope="module")
def exact():
    return minillm.load("smollm2", "exact")


@pytest.fixture(scope="module")
def numpy_model():
    return minillm.load("smollm2")


def test_any_schedule_of_real_text_gives_the_naive_logits(exact):
    chat = exact.tokenizer.apply_chat_template([{"role": "user", "content": "What is the capital of Italy?"}])
    assert_any_schedule_is_naive(exact, [*map(exact.tokenizer.encode, TEXTS), chat], Random(0))


def test_it_is_nearer_to_the_reference_than_float32(exact, numpy_model):
    checkpoint = open_checkpoint("smollm2")
    weights = weights_by_name(checkpoint)
    random_tokens = np.random.default_rng(0).integers(0, exact.config.vocab_size, 32)
    for tokens in (exact.tokenizer.encode(TEXTS[0])[:32], random_tokens):
        expected = reference.forward(checkpoint.config, weights, tokens)
        errors = [np.abs(minillm.forward(model, tokens) - expected).max() for model in (exact, numpy_model)]
        assert errors[0] < errors[1] < 1e-3
        assert np.array_equal(minillm.forward(exact, tokens).argmax(axis=-1), expected.argmax(axis=-1))


@pytest.mark.parametrize("text", TEXTS[1:])
def test_its_greedy_tokens_are_those_of_the_fast_backend(exact, numpy_model, text):
    assert minillm.generate(exact, text, 24).tokens == minillm.generate(numpy_model, text, 24).tokens


@pytest.mark.parametrize("setting", [{"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Nehalem"}, {}], ids=str)
def test_its_hash_is_the_readme_s(setting):
    command = [sys.executable, "-m", "minillm", "exactness", "--model", "smollm2", "--hash-only"]
    printed = subprocess.run(command, env={**os.environ, **setting}, check=True, capture_output=True, text=True).stdout
    assert printed == PUBLISHED_HASHES["smollm2"] + "\n"


@pytest.mark.parametrize("weights", [weights for model, weights in FORMAT_HASHES if model == "smollm2"])
def test_the_hash_of_every_format_is_published(weights, capsys):
    assert run(["exactness", "--model", "smollm2", "--weights", weights, "--hash-only"]) == 0
    assert capsys.readouterr().out == FORMAT_HASHES["smollm2", weights] + "\n"
