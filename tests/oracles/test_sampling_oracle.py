"""Each filter of sampling, and all of them in their documented order, against transformers' logits processors."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from minillm import Sampling
from minillm.sampling import log_probabilities, probabilities, sample

seeds = st.integers(0, 2**32)


def random_logits(seed, size=50):
    return np.random.default_rng(seed).normal(scale=3, size=size)


def oracle_probabilities(logits, processors, seen=(0,)):
    scores = LogitsProcessorList(processors)(torch.tensor([list(seen)]), torch.tensor(logits)[None])
    return torch.softmax(scores[0], -1).numpy()


@settings(max_examples=150)
@given(
    seed=seeds,
    temperature=st.floats(0.1, 5),
    top_k=st.none() | st.integers(1, 50),
    top_p=st.none() | st.floats(0.05, 0.99),
    min_p=st.none() | st.floats(0.01, 0.9),
    penalty=st.none() | st.floats(0.5, 2),
    seen=st.lists(st.integers(0, 49), min_size=1, max_size=20),
)
def test_the_filters_in_their_order(seed, temperature, top_k, top_p, min_p, penalty, seen):
    processors = [RepetitionPenaltyLogitsProcessor(penalty)] if penalty else []
    processors.append(TemperatureLogitsWarper(temperature))
    processors += [TopKLogitsWarper(top_k)] if top_k else []
    processors += [TopPLogitsWarper(top_p)] if top_p else []
    processors += [MinPLogitsWarper(min_p)] if min_p else []
    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p or 1.0, min_p=min_p or 0.0, repetition_penalty=penalty or 1.0
    )
    logits = random_logits(seed)
    found = probabilities(logits, sampling, seen)
    expected = oracle_probabilities(logits, processors, seen)
    assert np.array_equal(found > 0, expected > 0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@given(seed=seeds, penalty=st.floats(0.5, 2), seen=st.lists(st.integers(0, 49), min_size=1, max_size=20))
def test_greedy_takes_the_best_of_the_penalised(seed, penalty, seen):
    logits = random_logits(seed)
    scores = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([seen]), torch.tensor(logits)[None])
    sampling = Sampling(repetition_penalty=penalty)
    assert sample(logits, sampling, seen, sampling.generator()) == int(scores.argmax())
    assert probabilities(logits, sampling, seen).argmax() == int(scores.argmax())


@given(seed=seeds)
def test_log_probabilities(seed):
    logits = random_logits(seed)
    np.testing.assert_allclose(log_probabilities(logits), torch.log_softmax(torch.tensor(logits), -1).numpy())
