"""Wrong answers to `rope`."""

import numpy as np


def _rotate(x, angles):
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    rotated = first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles)
    return np.concatenate(rotated, axis=-1)


def _frequencies(head_dim, theta):
    return theta ** (-np.arange(0, head_dim, 2) / head_dim)


def position_inside_the_chunk(x, positions, theta):
    """Positions were counted from 0 in this call: a chunk after cached tokens begins later. Use `positions`."""
    return _rotate(x, (np.arange(len(x))[:, None] * _frequencies(x.shape[-1], theta))[:, None])


def neighbours_are_pairs(x, positions, theta):
    """The pairs (0, 1), (2, 3), ... were rotated: in this layout number i pairs with i + head_dim / 2."""
    angles = (positions[:, None] * _frequencies(x.shape[-1], theta))[:, None]
    first, second = x[..., ::2], x[..., 1::2]
    result = np.empty_like(x)
    result[..., ::2] = first * np.cos(angles) - second * np.sin(angles)
    result[..., 1::2] = second * np.cos(angles) + first * np.sin(angles)
    return result


def wrong_direction(x, positions, theta):
    """The rotation has the wrong direction: use (a cos t - b sin t, b cos t + a sin t)."""
    return _rotate(x, -(positions[:, None] * _frequencies(x.shape[-1], theta))[:, None])


def exponent_without_two(x, positions, theta):
    """The frequencies fall half as fast as they should: the exponent is -2 i / head_dim."""
    half = x.shape[-1] // 2
    return _rotate(x, (positions[:, None] * theta ** (-np.arange(half) / (2 * half)))[:, None])


def first_half_already_rotated(x, positions, theta):
    """The second half was computed from the rotated first half: both need the old values."""
    angles, half = (positions[:, None] * _frequencies(x.shape[-1], theta))[:, None], x.shape[-1] // 2
    result = x.copy()
    result[..., :half] = result[..., :half] * np.cos(angles) - result[..., half:] * np.sin(angles)
    result[..., half:] = result[..., half:] * np.cos(angles) + result[..., :half] * np.sin(angles)
    return result


def one_angle_for_all_pairs(x, positions, theta):
    """All pairs are rotated by the same angle: each pair has its own frequency."""
    return _rotate(x, positions[:, None, None] * np.ones(x.shape[-1] // 2))
