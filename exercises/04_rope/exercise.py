"""RoPE: a position is an angle.

Where the engine does it: `rope_cos_sin` and `apply_rope` in minillm/layers.py. Queries and keys are turned by an
angle that grows with their position, so that their product depends on how far apart they are (Su et al., 2104.09864).
"""

# %% learner
import numpy as np


def rope(x: np.ndarray, positions: np.ndarray, theta: float) -> np.ndarray:
    """Turn the pair (i, i + head_dim / 2) of every head by position * theta ** (-2 i / head_dim) radians.

    x: [tokens, heads, head_dim], float64; head_dim is even.
    positions: [tokens], int: where each token stands in its sequence, which need not begin here.
    theta: the base of the frequencies, 10000.0 say.
    returns: [tokens, heads, head_dim]. A pair (a, b) turned by t is (a cos t - b sin t, b cos t + a sin t).
    """
    # %% solution
    head_dim = x.shape[-1]
    frequencies = theta ** (-np.arange(0, head_dim, 2) / head_dim)  # [half]
    angles = (positions[:, None] * frequencies)[:, None, :]  # [tokens, 1, half]
    first, second = x[..., : head_dim // 2], x[..., head_dim // 2 :]  # [tokens, heads, half]
    turned = first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles)
    return np.concatenate(turned, axis=-1)


# %% hints
HINTS = (
    "Each head is head_dim / 2 arrows in a plane. Pair i has a hand of a clock that turns at its own speed, fast for "
    "i = 0 and ever slower; the position says how long it has been turning.",
    "frequencies [half], angles = positions[:, None] * frequencies: [tokens, half]; give it an axis for the heads: "
    "[tokens, 1, half]. The halves of x are [tokens, heads, half].",
    "1. frequencies theta ** (-2 i / head_dim); 2. angles; 3. first and second half of x; 4. turn; 5. concatenate the "
    "halves along the last axis.",
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
    """Turning changes no length: each head is as long after as before."""
    return np.allclose((result**2).sum(axis=-1), (inputs["x"] ** 2).sum(axis=-1))


def only_distances_count(inputs, result, run):
    """Products of two tokens depend on how far apart they are, not on where they stand."""
    later = run(positions=inputs["positions"] + 11)
    return np.allclose((later[0] * later[-1]).sum(axis=-1), (result[0] * result[-1]).sum(axis=-1))


PROPERTIES = (lengths_stay, only_distances_count)


def plug(function):
    """The engine computes the angles once for all layers; here the positions travel in the place of the cosines."""

    def cos_sin(positions, rope, head_dim):
        places = positions[:, None, None].astype(float)
        return places, np.full_like(places, rope.rope_theta)

    def apply(x, cos_sin):
        return function(x, cos_sin[0][:, 0, 0].astype(int), float(cos_sin[1][0, 0, 0])).astype(x.dtype)

    return {"minillm.layers.rope_cos_sin": cos_sin, "minillm.layers.apply_rope": apply}
