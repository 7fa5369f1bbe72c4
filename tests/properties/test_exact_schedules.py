"""On the exact backend every row of logits is the naive path's to the bit, whatever the schedule and the model."""

import dataclasses
from functools import partial
from random import Random

import numpy as np
import pytest
from bundled import BUNDLED
from exact_schedules import assert_any_schedule_is_naive
from golden_model import TOKENS, golden_model
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import architectures, random_model, token_lists

import minillm

TEXTS = [
    "Once upon a time",
    "Once upon a time there was a cat who lived by the sea. Every morning it went to the harbour to see the boats.",
    "The capital of France is",
    "The capital of Italy is Rome.",
    "12 + 30 =",
]


@st.composite
def configs(draw):
    """Any architecture, sometimes as wide as a real one, where matrix libraries take other paths."""
    config = draw(architectures())
    if draw(st.integers(0, 3)):
        return config
    widths = {"hidden_size": draw(st.integers(60, 600)), "intermediate_size": draw(st.integers(60, 1200))}
    return dataclasses.replace(config, **widths)


@st.composite
def sequences(draw, vocab_size):
    """Short ones, some that begin alike, perhaps one that is longer than a tile of queries."""
    short = draw(st.lists(token_lists(vocab_size, 12), min_size=1, max_size=3))
    beginning = draw(token_lists(vocab_size, 12))
    alike = [beginning + draw(token_lists(vocab_size, 6)) for _ in range(draw(st.integers(0, 2)))]
    long = [7 * n * n % vocab_size for n in range(draw(st.sampled_from([0, 0, 65, 140])))]
    return [*short, *alike, long] if long else [*short, *alike]


@pytest.mark.parametrize("cache_dtype", [None, "int8"])
@settings(max_examples=25)
@given(data=st.data(), config=configs(), seed=st.integers(0, 2**32), random=st.randoms(use_true_random=False))
def test_any_schedule_of_a_random_model(cache_dtype, data, config, seed, random):
    tokens = data.draw(sequences(config.vocab_size))
    model, _ = random_model(config, seed, "exact")
    assert_any_schedule_is_naive(model, tokens, random, cache_dtype=cache_dtype)


@settings(max_examples=15)
@given(data=st.data(), config=architectures(), seed=st.integers(0, 2**32), random=st.randoms(use_true_random=False))
def test_any_schedule_on_a_device_nearly(data, config, seed, random):
    """Up to the rounding of float64."""
    same = partial(np.allclose, rtol=1e-9, atol=1e-9)
    assert_any_schedule_is_naive(
        random_model(config, seed, "cupy")[0], data.draw(sequences(config.vocab_size)), random, same
    )


@pytest.mark.parametrize("seed, cache_dtype", [(0, None), (1, None), (2, "int8")])
@pytest.mark.parametrize("name", ["golden", *BUNDLED])
def test_any_schedule_of_a_real_model(name, seed, cache_dtype):
    if name == "golden":
        model, tokens = golden_model(), [TOKENS, TOKENS[:40], TOKENS[:12] + TOKENS[:9], TOKENS[50:]]
    else:
        model = minillm.load(name, "exact")
        tokens = [model.tokenizer.encode(text) for text in TEXTS]
    assert_any_schedule_is_naive(model, tokens, Random(seed), cache_dtype=cache_dtype)


def test_an_ordinary_backend_would_not_pass():
    model = golden_model("plain")
    with pytest.raises(AssertionError):
        assert_any_schedule_is_naive(model, [TOKENS, TOKENS[:40]], Random(0))


def test_text_is_the_same_in_every_batch():
    """Greedy tokens over many steps: each sequence alone, and all of them together."""
    model = golden_model()
    prompts = [TOKENS[start : start + 5 + start] for start in range(4)]
    caches = [minillm.KVCache(model, 32) for _ in prompts]
    logits, together = minillm.forward_batch(model, list(zip(prompts, caches, strict=True))), [[] for _ in prompts]
    for _ in range(8):
        step = [int(token) for token in logits.argmax(axis=-1)]
        for tokens, token in zip(together, step, strict=True):
            tokens.append(token)
        logits = minillm.forward_batch(model, [([token], cache) for token, cache in zip(step, caches, strict=True)])
    assert together == [minillm.naive_decode(model, prompt, 8) for prompt in prompts]
