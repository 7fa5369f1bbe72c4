"""AdamW against the paper's algorithm, one parameter at a time in plain Python."""

import math

import numpy as np
import pytest

from minillm.training.optimizer import AdamW, Schedule


def adamw_by_the_paper(weight, gradients, schedule, decayed):
    """Loshchilov and Hutter, algorithm 2, for one number; gradients are clipped already."""
    m = v = 0.0
    for t, gradient in enumerate(gradients, 1):
        m = schedule.beta1 * m + (1 - schedule.beta1) * gradient
        v = schedule.beta2 * v + (1 - schedule.beta2) * gradient**2
        m_hat, v_hat = m / (1 - schedule.beta1**t), v / (1 - schedule.beta2**t)
        decay = schedule.weight_decay * weight if decayed else 0.0
        weight -= schedule.rate(t) * (m_hat / (math.sqrt(v_hat) + 1e-8) + decay)
    return weight


def test_steps_follow_the_paper():
    schedule = Schedule(steps=20, learning_rate=0.1, warmup_steps=3, clip=1e9)
    generator = np.random.default_rng(0)
    gradients, start = generator.normal(size=(20, 4)), generator.normal(size=4)
    decayed = np.array([1.0, 1.0, 0.0, 0.0])
    weights, optimizer = start.copy(), AdamW(schedule, decayed)
    for gradient in gradients:
        optimizer.update(weights, gradient.copy())
    expected = [adamw_by_the_paper(start[i], gradients[:, i], schedule, decayed[i]) for i in range(4)]
    np.testing.assert_allclose(weights, expected, rtol=1e-12)


def test_a_long_gradient_is_scaled_to_the_clip():
    schedule = Schedule(steps=2, clip=1.0, beta1=0.0)
    optimizer = AdamW(schedule, np.zeros(2))
    assert optimizer.update(np.zeros(2), np.array([30.0, 40.0])) == 50.0
    np.testing.assert_allclose(optimizer.mean, [0.6, 0.8], rtol=1e-9)


def test_a_short_gradient_is_left_alone():
    optimizer = AdamW(Schedule(steps=2, clip=1.0, beta1=0.0), np.zeros(2))
    optimizer.update(np.zeros(2), np.array([0.3, 0.4]))
    np.testing.assert_allclose(optimizer.mean, [0.3, 0.4], rtol=1e-12)


def test_the_rate_rises_then_follows_half_a_cosine():
    schedule = Schedule(steps=110, learning_rate=2.0, warmup_steps=10, last_rate=0.1)
    assert schedule.rate(1) == pytest.approx(0.2) and schedule.rate(10) == pytest.approx(2.0)
    assert schedule.rate(60) == pytest.approx(1.1)  # half way between 2.0 and 0.2
    assert schedule.rate(110) == pytest.approx(0.2)


def test_everything_stays_float32():
    weights = np.ones(3, np.float32)
    optimizer = AdamW(Schedule(steps=3), np.ones(3, np.float32))
    optimizer.update(weights, np.ones(3, np.float32))
    assert weights.dtype == optimizer.mean.dtype == optimizer.square.dtype == np.float32
