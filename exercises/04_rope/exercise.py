"""RoPE: rotate by an angle that depends on the position.

Where the engine does it: `rope_cos_sin` and `apply_rope` in minillm/layers.py. Queries and keys are rotated by an angle
that grows with their position. So their dot product depends on the distance between them (Su et al., 2104.09864).
"""

# %% learner
import numpy as np


def rope(x: np.ndarray, positions: np.ndarray, theta: float) -> np.ndarray:
    """Rotate the pair (i, i + head_dim / 2) of every head by position * theta ** (-2 i / head_dim) radians.

    x: [tokens, heads, head_dim], float64. head_dim is even. With head_dim 6 the pairs are (0, 3), (1, 4) and (2, 5).
    positions: [tokens], int: the position of each token in its sequence. The first one may be larger than 0.
    theta: the base of the frequencies, for example 10000.0.
    returns: [tokens, heads, head_dim]. A pair (a, b) rotated by t is (a cos t - b sin t, b cos t + a sin t).
    """
    # %% solution
    head_dim = x.shape[-1]
    frequencies = theta ** (-np.arange(0, head_dim, 2) / head_dim)  # [half]
    angles = (positions[:, None] * frequencies)[:, None, :]  # [tokens, 1, half]
    first, second = x[..., : head_dim // 2], x[..., head_dim // 2 :]  # [tokens, heads, half]
    rotated = first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles)
    return np.concatenate(rotated, axis=-1)


# %% hints
HINTS = (
    "Each head is head_dim / 2 points in a plane. Pair i has its own frequency, the angle for one position. It is "
    "largest for i = 0 and falls with i. The pair is rotated by position times frequency.",
    "frequencies is [half]. angles = positions[:, None] * frequencies is [tokens, half]. Add an axis for the heads: "
    "[tokens, 1, half]. The halves of x are [tokens, heads, half].",
    "1. Compute the frequencies, theta ** (-2 i / head_dim). 2. Compute the angles. 3. Take the first and the second "
    "half of x. 4. Rotate. 5. Concatenate the halves along the last axis.",
    "frequencies = theta ** (-np.arange(0, head_dim, 2) / head_dim)",
)


# %% check
LESSON = 3
CONCEPTS = ("attention", "positions")


def cases(random):
    yield {"x": np.array([[[1.0, 0.0]]]), "positions": np.array([1]), "theta": 10000.0}
    yield {"x": np.array([[[1.0, 2.0]], [[3.0, 4.0]]]), "positions": np.array([0, 1]), "theta": 10000.0}
    yield {"x": np.ones((1, 1, 4)), "positions": np.array([1]), "theta": 100.0}
    yield {"x": random.normal(size=(2, 1, 4)), "positions": np.array([5, 6]), "theta": 100.0}
    yield {"x": random.normal(size=(3, 2, 8)), "positions": np.array([7, 8, 9]), "theta": 10000.0}
    yield {"x": random.normal(size=(4, 3, 6)), "positions": np.array([0, 3, 1, 100]), "theta": 500.0}


def lengths_stay(inputs, result, run):
    """The rotation does not change the length of a head."""
    return np.allclose((result**2).sum(axis=-1), (inputs["x"] ** 2).sum(axis=-1))


def only_distances_count(inputs, result, run):
    """The dot product of two tokens depends on the distance between them, not on their positions."""
    later = run(positions=inputs["positions"] + 11)
    return np.allclose((later[0] * later[-1]).sum(axis=-1), (result[0] * result[-1]).sum(axis=-1))


PROPERTIES = (lengths_stay, only_distances_count)


def plug(function):
    """The engine computes cos and sin once for all layers. Here they are replaced by the positions and theta."""

    def cos_sin(positions, rope, head_dim):
        as_cos = positions[:, None, None].astype(float)
        return as_cos, np.full_like(as_cos, rope.rope_theta)

    def apply(x, cos_sin):
        return function(x, cos_sin[0][:, 0, 0].astype(int), float(cos_sin[1][0, 0, 0])).astype(x.dtype)

    return {"minillm.layers.rope_cos_sin": cos_sin, "minillm.layers.apply_rope": apply}


def engine(x, positions, theta):
    from minillm.config import RopeParameters
    from minillm.layers import apply_rope, rope_cos_sin

    return apply_rope(x, rope_cos_sin(positions, RopeParameters(rope_theta=theta), x.shape[-1]))
