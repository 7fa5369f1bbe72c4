"""int4: 4 bits for each weight, and a float16 scale and minimum for each group of 32. GGUF calls it Q4_1.

    weight = number * scale + minimum          number: 0 to 15, scale: (largest - smallest weight) / 15

    group    -0.30  0.15   0.45 ...        minimum -0.30, scale 0.05
    numbers      0     9     15 ...        error at most half a step, 0.025

The line from the smallest to the largest weight is then fitted to all weights of the group (`fitted`). Without a
minimum, a group with few negative weights would leave most of its 16 numbers unused. A byte holds two
numbers: number j of a group in its lower half, number j + 16 in its upper half, as in GGUF. A weight takes 5 bits: a
decode step reads 0.16 of the bytes of float32. Sources: Dettmers and Zettlemoyer, The case for 4-bit precision,
2212.09720; ggml's Q4_1.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minillm.arrays import Array, Float
from minillm.quantization.quantized import GROUP, Quantized, in_groups, scales_for, to_float16, to_float32

LARGEST = 15
HALF = GROUP // 2


@dataclass(frozen=True, eq=False)
class Int4(Quantized):
    """A matrix in 4 bits.

    Attributes:
        pairs: `[out, groups, 16]`, uint8: two numbers each.
        scales, minimums: `[out, groups]`, float16; minimums may be float32.
        inner: the length of a row. Numbers after it are padding of the last group.
    """

    pairs: Array
    scales: Array
    minimums: Array
    inner: int
    name = "int4"

    @property
    def columns(self) -> int:
        """The length of a row."""
        return self.inner

    @classmethod
    def of(cls, values: Float[Array, "out in"]) -> "Int4":
        """Round each weight to the nearest of its group's 16 steps. In a group of equal weights the scale may be 0.

        Weights that were in this format before get their numbers back, if their group uses both 0 and 15.

        Raises:
            ValueError: a value is infinite or not a number, or beyond 65,504, the largest float16.
        """
        # [32, out, groups]: NumPy adds up arrays much faster than the 32 numbers of each group
        groups = np.ascontiguousarray(np.moveaxis(in_groups(to_float32(values)), -1, 0))
        minimums = float16_at_most(groups.min(axis=0))
        scales = scales_for(groups.max(axis=0) - minimums.astype(np.float32), LARGEST)
        first = Rounded.to(groups, scales, minimums)
        fit = Rounded.to(groups, *fitted(groups, first.numbers))
        better = (fit.squares < first.squares) & (fit.largest <= fit.scales / np.float32(2))  # [out, groups]
        numbers = np.where(better, fit.numbers, first.numbers).astype(np.uint8)
        scales, minimums = np.where(better, fit.scales, scales), np.where(better, fit.minimums, minimums)
        return cls(pack(np.moveaxis(numbers, 0, -1)), scales, minimums, values.shape[1])

    def numbers(self) -> Array:
        """Return the numbers 0 to 15, `[out, groups, 32]`, uint8."""
        return np.concatenate([self.pairs & 15, self.pairs >> 4], axis=-1)

    def dequantize(self) -> Float[Array, "out in"]:
        """Return number * scale + minimum, in float32."""
        scales, minimums = (array.astype(np.float32)[..., None] for array in (self.scales, self.minimums))
        values = self.numbers() * scales + minimums  # [out, groups, 32]
        return values.reshape(len(values), values.shape[1] * GROUP)[:, : self.inner]


def float16_at_most(values: Float[Array, "out groups"]) -> Array:
    """Round down to float16, so that no weight of a group is below its minimum: the numbers begin at 0.

    Raises:
        ValueError: a value is beyond the largest float16, 65,504.
    """
    rounded = to_float16(values)
    above = rounded > values
    with np.errstate(over="ignore"):
        rounded[above] = np.nextafter(rounded[above], np.float16(-np.inf))
    return to_float16(rounded)


class Rounded(NamedTuple):
    """Groups of weights, rounded to the steps of these scales and minimums.

    Attributes:
        numbers: 0 to 15, `[32, out, groups]`, float32.
        scales, minimums: `[out, groups]`, float16.
        squares, largest: the sum of the squared errors of each group, and its largest error, `[out, groups]`.
    """

    numbers: Array
    scales: Array
    minimums: Array
    squares: Array
    largest: Array

    @classmethod
    def to(cls, groups: Float[Array, "32 out groups"], scales: Array, minimums: Array) -> "Rounded":
        """Round each weight to the nearest step."""
        steps = scales.astype(np.float32)
        above = groups - minimums.astype(np.float32)
        numbers = np.rint(above / np.where(steps == 0, 1, steps)).clip(0, LARGEST)
        with np.errstate(invalid="ignore"):  # an infinite minimum of `fitted` is worse than any other
            errors = np.abs(numbers * steps - above)
        return cls(numbers, scales, minimums, np.square(errors).sum(axis=0), errors.max(axis=0))


def fitted(groups: Float[Array, "32 out groups"], numbers: Array) -> tuple[Array, Array]:
    """Return the scales and minimums with the least squared error for these numbers: a straight line through them.

    scale = covariance(number, weight) / variance(number), minimum = mean weight - scale * mean number.

    In the line from the smallest to the largest weight only these two count. With this one the squared error falls by
    8%, and the KL divergence of smollm2 and of story by 11% and 18%. A second fit to the new numbers gains little.
    """
    mean_number, mean = numbers.mean(axis=0), groups.mean(axis=0)
    apart = numbers - mean_number
    variance = np.square(apart).sum(axis=0)
    slopes = (apart * groups).sum(axis=0) / np.where(variance == 0, 1, variance)
    with np.errstate(over="ignore"):
        return slopes.astype(np.float16), (mean - slopes * mean_number).astype(np.float16)


def pack(numbers: Array) -> Array:
    """Store number j of a group in the lower half of byte j, and number j + 16 in the upper half."""
    return numbers[..., :HALF] | numbers[..., HALF:] << 4
