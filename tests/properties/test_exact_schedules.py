"""On the exact backend every row of logits is the naive path's to the bit, whatever the schedule and the model."""

import dataclasses
import re
import shlex
from functools import cache, partial
from random import Random

import numpy as np
import pytest
from bisected_schedules import assert_bisect_finds_nothing
from bundled import BUNDLED
from exact_schedules import assert_any_schedule_is_naive
from golden_model import TOKENS, golden_model
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from random_models import architectures, random_model, token_lists

import minillm
from minillm.backends import exact
from minillm.cli.main import run

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
@given(data=st.data(), config=configs(), seed=st.integers(0, 2**32))
def test_any_schedule_of_a_random_model(cache_dtype, data, config, seed):
    model, _ = random_model(config, seed, "exact")
    assert_bisect_finds_nothing(model, data, cache_dtype, "story-draft")


@pytest.mark.parametrize("cache_dtype", [None, "int8"])
@settings(max_examples=8)
@given(data=st.data())
def test_any_schedule_of_a_shipped_model(cache_dtype, data):
    assert_bisect_finds_nothing(shipped_model(), data, cache_dtype, "story-draft")


@cache
def shipped_model():
    return minillm.load("story-draft", "exact")


def test_a_failing_schedule_is_printed_as_a_command_that_repeats_it(monkeypatch, capsys):
    """A planted bug: the first key is hidden from chunks and decoded tokens."""
    real = exact.causal_mask

    def wrong(queries, keys, start, window):
        return real(queries, keys, start, window) & ((np.arange(keys) > 0) | (start == 0))

    monkeypatch.setattr(exact, "causal_mask", wrong)
    prove = given(st.data())(lambda data: assert_bisect_finds_nothing(shipped_model(), data, None, "story-draft"))
    with pytest.raises(AssertionError) as failure:
        settings(max_examples=20, phases=[Phase.generate], report_multiple_bugs=False)(prove)()
    position, place, command = re.match(r"position (\d+), (.*)\nminillm (bisect .*)\n?", str(failure.value)).groups()
    assert place == "layer 0, attention"
    assert run(shlex.split(command)) == 1
    report = capsys.readouterr().out
    assert f"token: position {position}, " in report and f"operation: {place}, element " in report
    monkeypatch.undo()
    assert run(shlex.split(command)) == 0


@pytest.mark.parametrize("cache_dtype", [None, "int8"])
@settings(max_examples=10)
@given(data=st.data(), config=configs(), seed=st.integers(0, 2**32), random=st.randoms(use_true_random=False))
def test_any_batches_of_several_sequences_of_a_random_model(cache_dtype, data, config, seed, random):
    model = random_model(config, seed, "exact")[0]
    assert_any_schedule_is_naive(model, data.draw(sequences(config.vocab_size)), random, cache_dtype=cache_dtype)


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
