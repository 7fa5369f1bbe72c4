"""Losses against their definitions, and their gradients against finite differences."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minillm.training.losses import IGNORED, cross_entropy, soft_cross_entropy, sparse_cross_entropy


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits, targets = 5 * generator.normal(size=(6, 7)), generator.integers(0, 7, 6)
    targets[2] = IGNORED
    wanted = generator.random((6, 7)) + 1e-3
    return logits, targets, wanted / wanted.sum(axis=1, keepdims=True)


@given(st.integers(0, 2**32))
def test_cross_entropy_is_the_mean_surprise_of_the_targets(seed):
    logits, targets, _ = problem(seed)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -sum(np.log(probs[i, t]) for i, t in enumerate(targets) if t != IGNORED) / 5
    assert np.isclose(cross_entropy(logits.copy(), targets, 5)[0], expected, rtol=1e-12)


@given(st.integers(0, 2**32))
def test_gradients_equal_finite_differences(seed):
    logits, targets, wanted = problem(seed)
    losses = (lambda x: cross_entropy(x, targets, 5), lambda x: soft_cross_entropy(x, wanted, targets, 5))
    for loss in losses:
        gradient = loss(logits.copy())[1].copy()
        direction, step = np.random.default_rng(seed).normal(size=logits.shape), 1e-6
        change = loss(logits + step * direction)[0] - loss(logits - step * direction)[0]
        assert abs(change / (2 * step) - np.vdot(gradient, direction)) < 1e-7
        assert not gradient[2].any()


def test_a_soft_target_on_one_token_is_the_hard_target():
    logits, targets, _ = problem(0)
    one_hot = np.eye(7)[targets]
    hard, d_hard = cross_entropy(logits.copy(), targets, 5)
    soft, d_soft = soft_cross_entropy(logits.copy(), one_hot, targets, 5)
    assert np.isclose(hard, soft, rtol=1e-12) and np.allclose(d_hard, d_soft, rtol=0, atol=1e-15)


@given(st.integers(0, 2**32))
def test_a_sparse_target_is_the_soft_one_that_is_zero_elsewhere(seed):
    logits, targets, wanted = problem(seed)
    likely = np.array([np.random.default_rng(seed + row).permutation(7)[:3] for row in range(6)])
    probs = np.take_along_axis(wanted, likely, axis=1)
    dense = np.zeros((6, 7))
    np.put_along_axis(dense, likely, probs, axis=1)
    soft, d_soft = soft_cross_entropy(logits.copy(), dense, targets, 5)
    sparse, d_sparse = sparse_cross_entropy(logits.copy(), likely, probs, targets, 5)
    assert np.isclose(sparse, soft, rtol=1e-12)
    np.testing.assert_allclose(d_sparse, d_soft, rtol=0, atol=1e-15)


def test_soft_cross_entropy_is_least_at_the_wanted_distribution():
    _, targets, wanted = problem(1)
    least, gradient = soft_cross_entropy(np.log(wanted), wanted, targets, 5)
    assert np.abs(gradient).max() < 1e-15
    assert least < soft_cross_entropy(np.log(wanted) + 0.1 * np.eye(6, 7), wanted, targets, 5)[0]


def test_large_logits_do_not_overflow():
    loss, gradient = cross_entropy(np.array([[1e4, -1e4]]), np.array([1]), 1)
    assert loss == 2e4 and np.isfinite(gradient).all()
