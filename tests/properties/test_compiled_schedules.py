"""On the compiled backend too, in float32 and in every format, each row of logits is the naive path's to the bit."""

import numpy as np
import pytest

pytest.importorskip("numba")

from random import Random

from bundled import BUNDLED
from exact_schedules import assert_any_schedule_is_naive
from golden_model import TOKENS
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import architectures, random_model
from test_exact_schedules import TEXTS, configs, sequences

import minillm

FORMATS = ("float32", "bfloat16", "int8", "int4")


@settings(max_examples=12)
@given(data=st.data(), config=configs(), seed=st.integers(0, 2**32), random=st.randoms(use_true_random=False))
def test_any_schedule_of_a_random_model(data, config, seed, random):
    weights = data.draw(st.sampled_from(FORMATS))
    model = random_model(config, seed, "compiled", "float32", weights)[0]
    assert_any_schedule_is_naive(model, data.draw(sequences(config.vocab_size)), random)


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("name", BUNDLED)
def test_any_schedule_of_a_real_model(name, weights):
    model = minillm.load(name, "compiled", weights=weights)
    assert_any_schedule_is_naive(model, [model.tokenizer.encode(text) for text in TEXTS], Random(0))


@settings(max_examples=10)
@given(config=architectures(), seed=st.integers(0, 2**32), weights=st.sampled_from(FORMATS))
def test_logits_are_those_of_the_plain_backend(config, seed, weights):
    tokens = [7 * n * n % config.vocab_size for n in range(20)]
    ours, theirs = (
        minillm.forward(random_model(config, seed, backend, dtype, weights)[0], tokens)
        for backend, dtype in (("compiled", "float32"), ("plain", "float64"))
    )
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4 * np.abs(theirs).max())
