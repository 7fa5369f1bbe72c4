"""Every format of weights under every schedule: the logits are those of the dequantised weights, and of naive decoding.

On the exact backend to the bit; on the others in float64, up to the rounding of sums in another order.
"""

import dataclasses
from random import Random

import numpy as np
import pytest
from bundled import BUNDLED
from exact_schedules import assert_any_schedule_is_naive
from golden_model import TOKENS
from hypothesis import given, settings
from hypothesis import strategies as st
from lossless import assert_greedy_is_naive
from random_models import architectures, make_ops, random_checkpoint, random_model, token_lists
from tensors import ArrayTensor
from test_engine_schedules import alone, assert_same, dtype_of, engines, submissions
from test_exact_schedules import configs, sequences

import minillm
from minillm import Sampling, reference
from minillm.loading.build import build
from minillm.loading.stored import format_of
from minillm.quantization import CLASSES, quantize
from minillm.trace.counting import counted

FORMATS = sorted(CLASSES)
every_format = pytest.mark.parametrize("weights", FORMATS)


def dequantised(config, seed, weights):
    """The checkpoint whose matrices have been rounded to the format, as arrays of floats."""
    checkpoint = random_checkpoint(config, seed)
    tensors = dict(checkpoint.tensors)
    for name, tensor in tensors.items():
        if tensor.values.ndim == 2:
            rounded = quantize(tensor.values, format_of(name, weights)).dequantize()
            tensors[name] = ArrayTensor(rounded.astype(float))
    return dataclasses.replace(checkpoint, tensors=tensors)


@every_format
@settings(max_examples=5)
@given(data=st.data(), config=configs(), seed=st.integers(0, 2**32))
def test_the_logits_are_those_of_the_dequantised_weights(weights, data, config, seed):
    tokens, checkpoint = data.draw(token_lists(config.vocab_size)), dequantised(config, seed, weights)
    by_name = {name: tensor.values for name, tensor in checkpoint.tensors.items()}
    expected = reference.forward(config, by_name, tokens)
    for backend in ("plain", "numpy", "exact"):
        found = minillm.forward(random_model(config, seed, backend, weights=weights)[0], tokens)
        tolerance = 1e-5 if backend == "exact" else 1e-9
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))
    ops = make_ops("exact")
    assert np.array_equal(found, minillm.forward(build(checkpoint, ops, ops.choose_dtype("float64")), tokens))


@every_format
@settings(max_examples=8)
@given(data=st.data(), config=configs(), seed=st.integers(0, 2**32), random=st.randoms(use_true_random=False))
def test_any_schedule_is_naive_to_the_bit(weights, data, config, seed, random):
    """Cached, chunked, batched, truncated, forked."""
    tokens = data.draw(sequences(config.vocab_size))
    assert_any_schedule_is_naive(random_model(config, seed, "exact", weights=weights)[0], tokens, random)


@every_format
@pytest.mark.parametrize("name", BUNDLED)
def test_any_schedule_of_a_bundled_model(name, weights):
    model = minillm.load(name, "exact", weights=weights)
    tokens = [model.tokenizer.encode(text) for text in ("Once upon a time", "12 + 30 =")]
    assert_any_schedule_is_naive(model, [*tokens, TOKENS[:70]], Random(0))


@every_format
@settings(max_examples=5)
@given(data=st.data(), config=architectures(), seed=st.integers(0, 2**32))
def test_every_request_of_an_engine_is_as_if_alone(weights, data, config, seed):
    """In blocks, with prefix hits and preemption."""
    model = random_model(config, seed, "exact", weights=weights)[0]
    wanted = data.draw(submissions(config.vocab_size))
    engine = data.draw(engines(model, wanted))
    requests = [engine.submit(*each) for each in wanted]
    engine.run()
    for request, each in zip(requests, wanted, strict=True):
        assert_same(model, request, alone(model, each, dtype_of(engine)))


@every_format
@settings(max_examples=5)
@given(data=st.data(), config=architectures(), seed=st.integers(0, 2**32), k=st.integers(1, 6) | st.just("auto"))
def test_speculation_with_a_draft_in_any_format_is_naive(weights, data, config, seed, k):
    """The same weights in another format are a draft that is often right."""
    model = random_model(config, seed, "exact", weights=weights)[0]
    draft = random_model(config, seed, "exact", weights=data.draw(st.sampled_from(["float32", *FORMATS])))[0]
    drafter = data.draw(st.sampled_from([draft, draft, minillm.skip_layers(model), minillm.PromptLookup()]))
    prompt = data.draw(token_lists(config.vocab_size, 8))
    assert_greedy_is_naive(model, drafter, prompt, 10, Sampling(logprobs=1), k)


@every_format
@settings(max_examples=6)
@given(data=st.data(), config=architectures(), seed=st.integers(0, 2**32), backend=st.sampled_from(["plain", "numpy"]))
def test_schedules_of_the_float_backends_nearly(weights, data, config, seed, backend):
    model = random_model(config, seed, backend, weights=weights)[0]
    same = lambda found, expected: np.allclose(found, expected, rtol=1e-9, atol=1e-9)  # noqa: E731
    tokens = data.draw(sequences(config.vocab_size))
    assert_any_schedule_is_naive(model, tokens, data.draw(st.randoms(use_true_random=False)), same)


@every_format
@pytest.mark.parametrize("backend", ["plain", "numpy"])
def test_the_bytes_that_are_counted_are_those_of_the_format(weights, backend):
    """A decode step reads each matrix of story-draft once, 32 weights with their scale and minimum a group."""
    model, count = counted(minillm.load("story-draft", backend, weights=weights))
    minillm.forward(model, [5])
    config = model.config  # hidden size 64, inner 192, 4 heads of 16, 2 key heads, 2048 tokens
    layer = 64 * (64 + 2 * 32) + 64 * 64 + 3 * 64 * 192
    each = {"bfloat16": 2, "int8": 34 / 32, "int4": 20 / 32}
    head = 2048 * 64 * each[format_of("lm_head.weight", weights)]
    assert count.weight_bytes == config.num_hidden_layers * layer * each[weights] + head


@every_format
@pytest.mark.parametrize("backend", ["plain", "numpy", "exact"])
def test_everything_that_takes_a_model_takes_one_in_any_format(weights, backend):
    model = minillm.load("story-draft", backend, weights=weights)
    prompt = model.tokenizer.encode("Once upon a time")
    assert minillm.attention_weights(model, prompt, 1).shape == (4, len(prompt), len(prompt))
    assert minillm.score(model, "Once upon a time there was").perplexity < 2048
    answer = minillm.generate(model, "Once upon a time", 4)
    assert answer.tokens == minillm.naive_decode(model, prompt, 4)
    assert f"weights {weights}" in repr(model) and model.weights == weights
    assert minillm.skip_layers(model, [0]).weights == weights
