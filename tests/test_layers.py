"""RMSNorm, RoPE and SwiGLU do what their papers say."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from random_models import ropes

from minillm import reference
from minillm.config import RopeParameters
from minillm.layers import apply_rope, rms_norm, rope_cos_sin, rope_frequencies, swiglu

seeds = st.integers(0, 2**32)


@given(seed=seeds, scale=st.floats(0.1, 1000))
def test_rms_norm_forgets_the_scale_of_a_row(seed, scale):
    x, weight = np.random.default_rng(seed).normal(size=(2, 8))
    np.testing.assert_allclose(rms_norm(x * scale, weight, 0.0), rms_norm(x, weight, 0.0))


def test_rms_norm_of_ones_is_the_weight():
    weight = np.array([1.0, -2.0, 3.0])
    np.testing.assert_allclose(rms_norm(np.ones((2, 3)), weight, 0.0), np.tile(weight, (2, 1)))


@given(data=st.data())
def test_frequencies_are_the_specification_s(data):
    head_dim = data.draw(st.sampled_from([2, 4, 8, 16]))
    rope = data.draw(ropes(head_dim))
    expected = [reference.frequency(i, head_dim, rope) for i in range(head_dim // 2)]
    np.testing.assert_allclose(rope_frequencies(rope, head_dim), expected, rtol=1e-14)


def test_llama3_without_numbers_of_its_own_has_those_of_llama_3_1():
    own = RopeParameters(500_000.0, "llama3", 8.0, 1.0, 4.0, 8192)
    assert RopeParameters(500_000.0, "llama3", 8.0) == own
    assert RopeParameters() == RopeParameters(10_000.0, "default", 1.0)


def test_the_three_zones_of_llama3():
    """Fast pairs stay, slow ones are divided by the factor, and one between is between."""
    rope = RopeParameters(500_000.0, "llama3", 8.0, 1.0, 4.0, 8192)
    plain, scaled = rope_frequencies(RopeParameters(500_000.0), 128), rope_frequencies(rope, 128)
    wavelength = 2 * np.pi / plain
    fast, slow = wavelength < 8192 / 4, wavelength > 8192
    assert np.array_equal(scaled[fast], plain[fast])
    np.testing.assert_allclose(scaled[slow], plain[slow] / 8)
    between = ~fast & ~slow
    assert fast.any() and slow.any() and between.any()
    assert (scaled[between] < plain[between]).all() and (scaled[between] > plain[between] / 8).all()


@given(seed=seeds, m=st.integers(0, 500), n=st.integers(0, 500), shift=st.integers(0, 500))
def test_a_score_depends_on_the_distance_alone(seed, m, n, shift):
    """The point of RoPE: moving query and key together changes nothing."""
    q, k = np.random.default_rng(seed).normal(size=(2, 1, 1, 8))
    rope = RopeParameters()

    def score(at_q, at_k):
        turned_q = apply_rope(q, rope_cos_sin(np.array([at_q]), rope, 8))
        return (turned_q * apply_rope(k, rope_cos_sin(np.array([at_k]), rope, 8))).sum()

    assert math.isclose(score(m, n), score(m + shift, n + shift), abs_tol=1e-9)


def test_position_zero_is_not_turned():
    x = np.arange(8.0).reshape(1, 2, 4)
    assert np.array_equal(apply_rope(x, rope_cos_sin(np.array([0]), RopeParameters(), 4)), x)


def test_rope_turns_halves_not_neighbours():
    """(1, 0, 0, 0) at position 1 turns in the plane of numbers 0 and 2 by one radian."""
    x = np.array([[[1.0, 0.0, 0.0, 0.0]]])
    turned = apply_rope(x, rope_cos_sin(np.array([1]), RopeParameters(), 4))
    np.testing.assert_allclose(turned, [[[math.cos(1), 0.0, math.sin(1), 0.0]]])


def test_swiglu_is_silu_of_the_gate_times_up():
    gate, up = np.array([[-1.0, 0.0, 2.0]]), np.array([[3.0, 4.0, 5.0]])
    np.testing.assert_allclose(swiglu(gate, up), gate / (1 + np.exp(-gate)) * up)


def test_swiglu_does_not_overflow_in_float32():
    gate = np.array([[-1e4, 1e4]], np.float32)
    assert np.array_equal(swiglu(gate, np.ones_like(gate)), np.array([[0.0, 1e4]], np.float32))
