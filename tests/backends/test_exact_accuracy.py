"""The exact backend computes what the formulas say, and no less accurately than float32."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import ArrayTensor, architectures, random_checkpoint, random_model, token_lists
from tensors import batch_of
from test_checks import CONFIG
from test_exact_order import Keys

from minillm import forward, reference
from minillm.backends.exact import Exact
from minillm.backends.plain import Plain
from minillm.loading.build import build, weights_by_name

EXACT, PLAIN = Exact(), Plain()
WIDE = dataclasses.replace(
    CONFIG, vocab_size=300, hidden_size=256, intermediate_size=700, num_attention_heads=4, num_key_value_heads=2,
    head_dim=64, max_position_embeddings=100,
)  # fmt: skip
seeds = st.integers(0, 2**32)


@given(seed=seeds, inner=st.integers(1, 300), bias=st.booleans())
def test_linear_is_a_product_and_a_bias(seed, inner, bias):
    rng = np.random.default_rng(seed)
    x, weight, added = rng.normal(size=(3, inner)), rng.normal(size=(inner, 5)), rng.normal(size=5)
    found = EXACT.linear(x, EXACT.prepare([weight.T]), added if bias else None)
    bound = 2.0**-25 * np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(weight, axis=0) * inner**0.5
    assert (np.abs(found - (x @ weight + added * bias)) <= bound).all()  # half a step for each number


@pytest.mark.parametrize("size", [2.0**-150, 2.0**-66, 2.0**66, 2.0**150])
def test_the_size_of_numbers_is_only_that_of_the_results(size):
    """Steps are relative to the row: powers of two change no digit, and nothing small becomes 0."""
    rng = np.random.default_rng(0)
    x, weight, q, k, v = (rng.normal(size=shape) for shape in ((3, 9), (9, 5), (6, 4, 8), (6, 2, 8), (6, 2, 8)))
    expected = EXACT.linear(x, EXACT.prepare([weight.T]))
    np.testing.assert_array_equal(EXACT.linear(size * x, EXACT.prepare([weight.T])), size * expected)
    np.testing.assert_array_equal(EXACT.linear(x, EXACT.prepare([(size * weight).T])), size * expected)
    output, sized = (
        EXACT.attention(*rows, batch_of([slice(0, 6)], [Keys()]), 0, None)
        for rows in ((q, k, v), (size * q, k / size, size * v))
    )
    np.testing.assert_array_equal(sized, size * output)


@given(seed=seeds, width=st.integers(2, 300))
def test_norm_and_swiglu_are_their_twins(seed, width):
    x, y = np.random.default_rng(seed).normal(size=(2, 3, width))
    np.testing.assert_allclose(EXACT.rms_norm(x, y[0], 1e-5), PLAIN.rms_norm(x, y[0], 1e-5), rtol=1e-7)
    np.testing.assert_allclose(EXACT.swiglu(20 * x, y), PLAIN.swiglu(20 * x, y), rtol=1e-11, atol=1e-14)


@given(seed=seeds, tokens=st.integers(2, 150), window=st.none() | st.integers(1, 150))
def test_attention_is_its_twin(seed, tokens, window):
    rng = np.random.default_rng(seed)
    q, (k, v) = rng.normal(size=(tokens, 4, 8)), rng.normal(size=(2, tokens, 2, 8))
    found, expected = (
        ops.attention(q, k, v, batch_of([slice(0, tokens)], [Keys()]), 0, window) for ops in (EXACT, PLAIN)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@settings(max_examples=20)
@given(data=st.data())
def test_forward_is_the_reference(data):
    config = data.draw(architectures())
    model, weights = random_model(config, data.draw(seeds), "exact")
    tokens = data.draw(token_lists(config.vocab_size))
    np.testing.assert_allclose(forward(model, tokens), reference.forward(config, weights, tokens), rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", range(2))
def test_the_error_is_no_larger_than_float32_s(seed):
    """Of a wide model with float32 weights, as they come from a file, on every token."""
    checkpoint = random_checkpoint(WIDE, seed)
    tensors = {name: ArrayTensor(tensor.values.astype(np.float32)) for name, tensor in checkpoint.tensors.items()}
    checkpoint = dataclasses.replace(checkpoint, tensors=tensors)
    tokens = np.random.default_rng(seed).integers(0, WIDE.vocab_size, 40)
    expected = reference.forward(WIDE, weights_by_name(checkpoint), tokens)
    models = [build(checkpoint, EXACT, np.dtype(np.float64)), build(checkpoint, PLAIN, np.dtype(np.float32))]
    errors = [np.abs(forward(model, tokens) - expected) for model in models]
    assert errors[0].max() < errors[1].max() and errors[0].mean() < errors[1].mean()
