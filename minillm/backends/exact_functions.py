"""exp, and RoPE's cos and sin, from additions and multiplications alone, for the `exact` backend.

IEEE 754 defines +, -, *, / and sqrt to the last bit. It does not define exp, sin, cos and pow, and NumPy's versions
differ between processors. A fixed sequence of the defined operations gives the same bits everywhere.
"""

import decimal
from functools import lru_cache

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.config import RopeParameters

_PI = decimal.Decimal("3.141592653589793238462643383279502884197")
_DIGITS = decimal.Context(prec=400, rounding=decimal.ROUND_HALF_EVEN)  # enough digits to reduce any angle modulo 2 pi


def exp(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return e**x = 2**n * e**r, with a polynomial for |r| <= ln(2)/2. The relative error is below 1e-12."""
    x = np.clip(x, -700.0, 700.0)
    n = np.rint(x * 1.4426950408889634)  # 1 / ln 2
    r = (x - n * 0.693359375) + n * 2.12194440054690583e-4  # ln 2 as a sum of two: n times the first is exact
    power = np.full_like(r, 1 / 3628800)
    for factorial in (362880, 40320, 5040, 720, 120, 24, 6, 2, 1, 1):  # Horner: 1 + r (1 + r (1/2 + r (1/6 + ...)))
        power *= r
        power += 1 / factorial
    return np.ldexp(power, n.astype(np.int32))


def cos_sin(
    positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int
) -> tuple[Float[Array, "tokens 1 half"], Float[Array, "tokens 1 half"]]:
    """Return cosine and sine of every position's angles: `layers.rope_cos_sin`.

    A position is a sum of powers of two, and its angle is the sum of their angles. For example, position 5 is 4 + 1.
    The angle of each power of two is twice the angle of the one before.
    """
    power_of_two = first_cos_sin(rope, head_dim)  # of the angles at position 1, then 2, 4, 8, ...: [half] each
    cosine, sine = np.ones((len(positions), head_dim // 2)), np.zeros((len(positions), head_dim // 2))
    for bit in range(int(positions.max()).bit_length()):
        rows = (positions >> bit & 1).astype(bool)
        cosine[rows], sine[rows] = _add_angles((cosine[rows], sine[rows]), power_of_two)
        power_of_two = _add_angles(power_of_two, power_of_two)
    return cosine[:, None], sine[:, None]


def _add_angles(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return cos(a + b) and sin(a + b), given cosine and sine of each."""
    (cos_a, sin_a), (cos_b, sin_b) = a, b
    return cos_a * cos_b - sin_a * sin_b, sin_a * cos_b + cos_a * sin_b


@lru_cache
def first_cos_sin(rope: RopeParameters, head_dim: int) -> tuple[Float[Array, "half"], Float[Array, "half"]]:
    """Return cosine and sine of each pair's angle at position 1, from decimal arithmetic: the same everywhere."""
    with decimal.localcontext(_DIGITS):
        angles = [_frequency(i, head_dim, rope) for i in range(head_dim // 2)]
        waves = [_cosine_and_sine(angle) for angle in angles]
    cosines, sines = zip(*waves, strict=True)
    return np.array(cosines), np.array(sines)


def _frequency(i: int, d: int, rope: RopeParameters) -> decimal.Decimal:
    """Return the radians per position of pair i: `layers.rope_frequencies` in decimal arithmetic."""
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
    """Return both from their Taylor series, 1 - a^2/2! + ... and a - a^3/3! + ..., of the angle modulo 2 pi."""
    angle = angle % (2 * _PI)
    term, sums = decimal.Decimal(1), [decimal.Decimal(0)] * 2
    for n in range(60):
        sums[n % 2] += term if n % 4 < 2 else -term
        term = term * angle / (n + 1)
    return float(sums[0]), float(sums[1])
