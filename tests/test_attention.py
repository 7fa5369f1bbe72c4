"""Attention over a cache is the textbook's attention, however the keys are cut into segments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import EVERY_BACKEND, models, random_model, token_lists

import minillm
from minillm import attention_weights
from minillm.attention import attend, causal_mask, naive_attention, naive_attention_weights, softmax
from minillm.backends import get_backend
from minillm.ragged_batch import ragged_batch
from minillm.transformer import _cos_sin, project_qkv, transformer_layer


@st.composite
def queries_keys_values(draw, longest=20):
    """q, k, v of one whole sequence, and a window."""
    tokens, kv_heads, group = draw(st.integers(1, longest)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    head_dim, generator = draw(st.sampled_from([2, 4, 6])), np.random.default_rng(draw(st.integers(0, 2**32)))
    q = 2 * generator.normal(size=(tokens, kv_heads * group, head_dim))
    k, v = generator.normal(size=(2, tokens, kv_heads, head_dim))
    return q, k, v, draw(st.none() | st.integers(1, longest))


def cut(data, k, v):
    """Keys and values as segments `[kv_heads, part, head_dim]` of any lengths, as a paged cache has them."""
    ends = sorted(data.draw(st.sets(st.integers(1, len(k)), max_size=3)) - {len(k)})
    return list(zip(*(np.split(array.swapaxes(0, 1), ends, axis=1) for array in (k, v)), strict=True))


@given(case=queries_keys_values(), data=st.data())
def test_attention_over_pieces_is_the_textbook(case, data):
    q, k, v, window = case
    start = data.draw(st.integers(0, len(q) - 1))
    expected = naive_attention(q, k, v, window)[start:]
    np.testing.assert_allclose(attend(q[start:], cut(data, k, v), start, window), expected, atol=1e-12)


@given(case=queries_keys_values(longest=150), data=st.data())
def test_tiles_are_the_whole(case, data):
    """The fast backend's tiles, and its single query of decoding, against their naive twin; over segments too."""
    q, k, v, window = case
    start, segments = data.draw(st.integers(0, len(q) - 1)), cut(data, k, v)
    fast, expected = get_backend("numpy").attend(q[start:], segments, start, window), naive_attention(q, k, v, window)
    np.testing.assert_allclose(fast, expected[start:], atol=1e-12)
    one = get_backend("numpy").attend(q[-1:], segments, len(q) - 1, window)
    np.testing.assert_allclose(one, expected[-1:], atol=1e-12)


@given(case=queries_keys_values(), data=st.data())
def test_later_tokens_change_nothing_before_them(case, data):
    q, k, v, window = case
    first = data.draw(st.integers(0, len(q) - 1))
    changed_k, changed_v = k.copy(), v.copy()
    changed_k[first:] += 1.0
    changed_v[first:] -= 3.0
    before, after = naive_attention(q, k, v, window), naive_attention(q, changed_k, changed_v, window)
    assert np.array_equal(before[:first], after[:first])
    assert not np.allclose(before[first], after[first])


def test_the_mask_moves_right_by_the_cached_tokens():
    expected = [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert np.array_equal(causal_mask(3, 5, start=2, window=None), np.array(expected, bool))


def test_a_window_of_three_sees_itself_and_two_before():
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1]]
    assert np.array_equal(causal_mask(4, 4, start=0, window=3), np.array(expected, bool))


def test_softmax_of_huge_scores_is_finite():
    np.testing.assert_allclose(softmax(np.array([1e4, 1e4, -1e4])), [0.5, 0.5, 0.0])


@given(data=st.data())
def test_attention_weights_are_causal_and_sum_to_one(data):
    model = data.draw(models(EVERY_BACKEND))
    tokens = data.draw(token_lists(model.config.vocab_size))
    layer = data.draw(st.integers(0, model.config.num_hidden_layers - 1))
    weights = attention_weights(model, tokens, layer)
    assert weights.shape == (model.config.num_attention_heads, len(tokens), len(tokens))
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0)
    visible = causal_mask(len(tokens), len(tokens), 0, model.config.sliding_windows[layer])
    assert np.array_equal(weights > 0, np.broadcast_to(visible, weights.shape))


@given(data=st.data())
def test_attention_weights_are_those_that_forward_uses(data):
    """Weights times values, through the output projection and the rest of the layer, is what the layer computes."""
    model = data.draw(models())
    tokens = np.array(data.draw(token_lists(model.config.vocab_size)))
    layer = model.layer_weights[0]
    q, k, v = project_qkv(model, layer, model.embedding[tokens], _cos_sin(model, np.arange(len(tokens))))
    values = np.repeat(v.swapaxes(0, 1), q.shape[1] // v.shape[1], axis=0)  # [heads, tokens, head_dim]
    mixed = (attention_weights(model, tokens, 0) @ values).swapaxes(0, 1).reshape(len(tokens), -1)
    np.testing.assert_allclose(mixed, naive_attention(q, k, v, model.config.sliding_windows[0]), atol=1e-12)


@given(data=st.data())
def test_attention_weights_of_every_layer_are_those_that_forward_uses(data):
    """Of layer n: those of the first layer of a model whose embedding is what layer n reads."""
    model = data.draw(models())
    tokens = np.array(data.draw(token_lists(model.config.vocab_size)))
    number = data.draw(st.integers(0, model.config.num_hidden_layers - 1))
    x, batch = model.embedding[tokens], ragged_batch([tokens], [minillm.KVCache(model, len(tokens))], [0])
    cos_sin = _cos_sin(model, np.arange(len(tokens)))
    for below in range(number):
        x = transformer_layer(model, model.layer_weights[below], below, x, cos_sin, batch)
    q, k, _ = project_qkv(model, model.layer_weights[number], x, cos_sin)
    expected = naive_attention_weights(q, k, model.config.sliding_windows[number])
    np.testing.assert_allclose(attention_weights(model, tokens, number), expected, atol=1e-12)


@pytest.mark.parametrize("layer", [-1, 2, 2**70])
def test_no_such_layer_is_refused(layer):
    from test_checks import CONFIG

    model, _ = random_model(CONFIG, 0)
    with pytest.raises(ValueError, match=r"^layer is .*expected an integer from 0 to 1$"):
        attention_weights(model, [1, 2], layer)
