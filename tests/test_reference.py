"""The engine's forward pass is the specification, in every architecture and on every backend."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_models import architectures, random_model, token_lists

from minillm import forward, reference


@pytest.mark.parametrize("backend", ["numpy", "plain", "cupy"])
@given(data=st.data())
def test_forward_is_the_reference(backend, data):
    config = data.draw(architectures())
    model, weights = random_model(config, data.draw(st.integers(0, 2**32)), backend)
    tokens = data.draw(token_lists(config.vocab_size))
    expected = reference.forward(config, weights, tokens)
    np.testing.assert_allclose(model.ops.to_host(forward(model, tokens)), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@settings(max_examples=150)
@given(data=st.data())
def test_every_weight_changes_the_reference(data):
    """The models above would prove nothing if a norm or a bias were ignored by both sides."""
    config = data.draw(architectures())
    _, weights = random_model(config, data.draw(st.integers(0, 2**32)))
    name = data.draw(st.sampled_from(sorted(weights)))
    if any(part in name for part in ("q_proj", "k_proj", "q_norm", "k_norm")):
        assume(config.sliding_windows[int(name.split(".")[2])] != 1)  # who sees one key takes all of it, whatever q is
    tokens = list(range(8))
    before = reference.forward(config, weights, tokens)
    changed = weights | {name: weights[name] * 1.5 + 0.25}
    assert not np.allclose(reference.forward(config, changed, tokens), before, rtol=1e-6)


@settings(max_examples=15)
@given(data=st.data())
def test_long_prompts_are_the_reference_too(data):
    """Prefill runs in tiles of 64 queries on the fast backend: cross two of their edges."""
    config = data.draw(architectures())
    model, weights = random_model(config, data.draw(st.integers(0, 2**32)))
    seed = data.draw(st.integers(0, 2**32))
    tokens = np.random.default_rng(seed).integers(0, config.vocab_size, data.draw(st.sampled_from([64, 65, 130])))
    expected = reference.forward(config, weights, tokens)
    np.testing.assert_allclose(forward(model, tokens), expected, rtol=1e-10, atol=1e-10)
