"""The functions of a layer other than attention: RMSNorm, RoPE and SwiGLU. They keep no state and know no backend."""

from functools import cache

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.config import RopeParameters


def rms_norm(
    x: Float[Array, "*batch dim"], weight: Float[Array, "*heads dim"], eps: float
) -> Float[Array, "*batch dim"]:
    """Divide each row by the root of its mean square, then scale it (Zhang and Sennrich, 1910.07467, equation 4).

    `weight` is `[dim]`; for the norm of the heads (Qwen3), where dim is head_dim, it is `[heads, dim]`.
    """
    mean_square = np.mean(x * x, axis=-1, keepdims=True)  # [*batch, 1]
    return x / np.sqrt(mean_square + eps) * weight


@cache  # a decode step of a small model takes about as long as ten calls of NumPy
def rope_frequencies(rope: RopeParameters, head_dim: int) -> Float[Array, "half"]:
    """Return the radians per position of each pair of a head, in float64 (Su et al., 2104.09864, section 3.2.2).

    Models with long contexts lower the low frequencies. `linear` divides all frequencies by `factor`. `llama3` divides
    only those that make fewer than `low_freq_factor` turns over the training context, with a ramp up to
    `high_freq_factor` turns.
    """
    frequencies = rope.rope_theta ** (-np.arange(0, head_dim, 2) / head_dim)  # [half]
    if rope.frequency_factors is not None:
        return frequencies / np.array(rope.frequency_factors)
    if rope.rope_type == "linear":
        return frequencies / rope.factor
    if rope.rope_type == "llama3":
        turns = rope.original_max_position_embeddings * frequencies / (2 * np.pi)
        kept = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
        kept = np.clip(kept, 0.0, 1.0)
        return kept * frequencies + (1 - kept) * frequencies / rope.factor
    return frequencies


def rope_cos_sin(
    positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int
) -> tuple[Float[Array, "tokens 1 half"], Float[Array, "tokens 1 half"]]:
    """Return cosine and sine of the angles at every position, for all heads and layers. Float64; the caller rounds."""
    angles = positions[:, None] * rope_frequencies(rope, head_dim)  # [tokens, half]
    return np.cos(angles)[:, None], np.sin(angles)[:, None]


def apply_rope(
    x: Float[Array, "tokens heads head_dim"],
    cos_sin: tuple[Float[Array, "tokens 1 half"], Float[Array, "tokens 1 half"]],
) -> Float[Array, "tokens heads head_dim"]:
    """Rotate the pair (i, i + half) of each head by the angle of its position: Hugging Face's half-split layout."""
    cosine, sine = cos_sin
    first, second = np.split(x, 2, axis=-1)  # [tokens, heads, half] each
    return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


def swiglu(gate: Float[Array, "tokens inner"], up: Float[Array, "tokens inner"]) -> Float[Array, "tokens inner"]:
    """Return silu(gate) * up (Shazeer, GLU Variants Improve Transformer, 2002.05202).

    silu(x) = x / (1 + exp(-x)). It is written with tanh, because exp(-x) overflows for x below about -88 in float32.
    """
    return gate * (0.5 + 0.5 * np.tanh(0.5 * gate)) * up
