"""score: the log-probability of a given text, equal to what the specification says, in any number of chunks."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import models
from test_checks import MODEL
from test_generation import TEXT_MODEL

import minillm
from minillm.sampling import log_probabilities


@settings(max_examples=10)
@given(model=models(), data=st.data())
def test_it_is_the_sum_of_the_naive_log_probabilities(model, data):
    ids = data.draw(st.lists(st.integers(0, model.config.vocab_size - 1), min_size=2, max_size=6))
    found = minillm.score(model, ids)
    logits = np.asarray(minillm.forward(model, ids), np.float64)
    expected = [log_probabilities(row)[token] for row, token in zip(logits[:-1], ids[1:], strict=True)]
    np.testing.assert_allclose(found.token_logprobs, expected, rtol=1e-4, atol=1e-5)
    assert found.tokens == ids[1:]
    assert found.logprob == pytest.approx(sum(found.token_logprobs))
    assert found.perplexity == pytest.approx(math.exp(-found.logprob / len(found.tokens)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_sum_has_one_rounding(seed):
    """Otherwise its last digits would depend on the order in which chunks are added up."""
    ids = np.random.default_rng(seed).integers(0, 99, 60)
    found = minillm.score(TEXT_MODEL, ids % TEXT_MODEL.config.vocab_size)
    assert found.logprob == math.fsum(reversed(found.token_logprobs))


def test_chunks_change_nothing(monkeypatch):
    whole = minillm.score(MODEL, [1, 2, 3, 4, 5, 6])
    monkeypatch.setattr(sys.modules["minillm.score"], "PREFILL_CHUNK", 2)
    chunked = minillm.score(MODEL, [1, 2, 3, 4, 5, 6])
    assert chunked.tokens == whole.tokens
    np.testing.assert_allclose(chunked.token_logprobs, whole.token_logprobs, rtol=1e-9)


def test_text_is_scored_as_generate_would_read_it():
    assert minillm.score(TEXT_MODEL, "abcabc").tokens == TEXT_MODEL.tokenizer.encode_prompt("abcabc")[1:]


def test_a_text_of_one_token_cannot_be_scored():
    with pytest.raises(ValueError, match="text has 1 token; expected at least 2"):
        minillm.score(MODEL, [1])


def test_a_text_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="more than the model's context of 16"):
        minillm.score(MODEL, [1] * 17)
