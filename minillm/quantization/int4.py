"""int4: 4 bits for each weight, and a float16 scale and minimum for each group of 32. GGUF calls it Q4_1.

    weight = number * scale + minimum          number: 0 to 15, scale: (largest - smallest weight) / 15

    group    -0.30  0.15   0.45 ...        minimum -0.30, scale 0.05
    numbers      0     9     15 ...        error at most half a step, 0.025

Without a minimum, a group with few negative weights would leave most of its 16 numbers unused. A byte holds two
numbers: number j of a group in its lower half, number j + 16 in its upper half, as in GGUF. A weight takes 5 bits: a
decode step reads 0.16 of the bytes of float32. Sources: Dettmers and Zettlemoyer, The case for 4-bit precision,
2212.09720; ggml's Q4_1.
"""

from dataclasses import dataclass

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
        groups = in_groups(to_float32(values))  # [out, groups, 32]
        minimums = float16_at_most(groups.min(axis=-1))
        above = groups - minimums.astype(np.float32)[..., None]
        scales = scales_for(above.max(axis=-1), LARGEST)
        steps = np.where(scales == 0, 1, scales).astype(np.float32)[..., None]
        numbers = np.rint(above / steps).clip(0, LARGEST).astype(np.uint8)
        return cls(pack(numbers), scales, minimums, values.shape[1])

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
    with np.errstate(over="ignore"):
        below = np.nextafter(rounded, np.float16(-np.inf))
    return to_float16(np.where(rounded > values, below, rounded))


def pack(numbers: Array) -> Array:
    """Store number j of a group in the lower half of byte j, and number j + 16 in the upper half."""
    return numbers[..., :HALF] | numbers[..., HALF:] << 4
