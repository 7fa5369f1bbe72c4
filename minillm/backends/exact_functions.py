"""exp and the rotations of RoPE from additions and multiplications alone, for the `exact` backend.

IEEE 754 defines +, -, *, / and sqrt to the last bit; exp, sin, cos and pow it does not, and NumPy's differ between
processors. What is made of the former in a fixed sequence is the same everywhere.
"""

import decimal
from functools import lru_cache

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.config import RopeParameters

_PI = decimal.Decimal("3.141592653589793238462643383279502884197")
_DIGITS = decimal.Context(prec=400, rounding=decimal.ROUND_HALF_EVEN)  # so many that the turns of any angle fit


def exp(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """e**x = 2**n * e**rest with a polynomial for |rest| <= ln(2)/2; its relative error is below 1e-12."""
    x = np.clip(x, -700.0, 700.0)
    n = np.rint(x * 1.4426950408889634)  # 1 / ln 2
    rest = (x - n * 0.693359375) + n * 2.12194440054690583e-4  # ln 2 in two parts: n times the first is exact
    power = np.full_like(rest, 1 / 3628800)
    for factorial in (362880, 40320, 5040, 720, 120, 24, 6, 2, 1, 1):  # Horner: 1 + r (1 + r (1/2 + r (1/6 + ...)))
        power *= rest
        power += 1 / factorial
    return np.ldexp(power, n.astype(np.int32))


def cos_sin(
    positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int
) -> tuple[Float[Array, "tokens 1 half"], Float[Array, "tokens 1 half"]]:
    """Cosine and sine of every position's angles: `layers.rope_cos_sin`.

    Position m is a sum of powers of two, so its rotation is the product of the rotations by them, and each of those
    is the square of the one before.
    """
    turn = first_rotation(rope, head_dim)  # [half] each
    cosine, sine = np.ones((len(positions), head_dim // 2)), np.zeros((len(positions), head_dim // 2))
    for bit in range(int(positions.max()).bit_length()):
        rows = (positions >> bit & 1).astype(bool)
        cosine[rows], sine[rows] = _turn((cosine[rows], sine[rows]), turn)
        turn = _turn(turn, turn)
    return cosine[:, None], sine[:, None]


def _turn(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    """Two rotations after each other: cos(a + b) and sin(a + b)."""
    (cos_a, sin_a), (cos_b, sin_b) = one, other
    return cos_a * cos_b - sin_a * sin_b, sin_a * cos_b + cos_a * sin_b


@lru_cache
def first_rotation(rope: RopeParameters, head_dim: int) -> tuple[Float[Array, "half"], Float[Array, "half"]]:
    """Cosine and sine of each pair's angle at position 1, in decimal arithmetic, which is the same everywhere."""
    with decimal.localcontext(_DIGITS):
        angles = [_frequency(i, head_dim, rope) for i in range(head_dim // 2)]
        waves = [_cosine_and_sine(angle) for angle in angles]
    cosines, sines = zip(*waves, strict=True)
    return np.array(cosines), np.array(sines)


def _frequency(i: int, d: int, rope: RopeParameters) -> decimal.Decimal:
    """Radians per position of pair i: `layers.rope_frequencies` in decimal."""
    number = decimal.Decimal
    plain = number(rope.rope_theta) ** (number(-2 * i) / number(d))
    factor = number(rope.factor)
    if rope.frequency_factors is not None:
        return plain / number(rope.frequency_factors[i])
    if rope.rope_type == "linear":
        return plain / factor
    if rope.rope_type == "llama3":
        low, high = number(rope.low_freq_factor), number(rope.high_freq_factor)
        kept = (rope.original_max_position_embeddings * plain / (2 * _PI) - low) / (high - low)
        kept = min(number(1), max(number(0), kept))
        return kept * plain + (1 - kept) * plain / factor
    return plain


def _cosine_and_sine(angle: decimal.Decimal) -> tuple[float, float]:
    """The Taylor series of both, 1 - a^2/2! + ... and a - a^3/3! + ..., of the angle within one turn."""
    angle = angle % (2 * _PI)
    term, sums = decimal.Decimal(1), [decimal.Decimal(0)] * 2
    for n in range(60):
        sums[n % 2] += term if n % 4 < 2 else -term
        term = term * angle / (n + 1)
    return float(sums[0]), float(sums[1])
