"""bfloat16: 16 bits for each weight, the upper half of its float32.

    float32     s eeeeeeee fffffffffffffffffffffff      sign, 8 bits of exponent, 23 of fraction
    bfloat16    s eeeeeeee fffffff                      the same exponent, so the same range, and 7 bits of fraction

Most checkpoints are stored in it, and then nothing is lost. Other weights are rounded to the nearest bfloat16: the
relative error is at most 2**-8. A decode step reads half of the bytes. Source: Kalamkar et al., A Study of BFLOAT16 for
Deep Learning Training, 1905.12322.
"""

from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Float
from minillm.quantization.quantized import Quantized, to_float32


@dataclass(frozen=True, eq=False)
class Bfloat16(Quantized):
    """A matrix in bfloat16.

    Attributes:
        bits: `[out, in]`, uint16.
    """

    bits: Array
    name = "bfloat16"

    @classmethod
    def of(cls, values: Float[Array, "out in"]) -> "Bfloat16":
        """Round to the nearest bfloat16; of two that are equally near, to the one whose last bit is 0.

        Raises:
            ValueError: a value is infinite or not a number, or rounds to infinity.
        """
        whole = to_float32(values).view(np.uint32)
        odd = (whole >> 16) & 1  # adding 0x7FFF carries what is above the half; and the half itself, if the bit is 1
        bits = ((whole + 0x7FFF + odd) >> 16).astype(np.uint16)
        to_float32(widen(bits))  # a value next to the largest float32 rounds to infinity
        return cls(bits)

    def dequantize(self) -> Float[Array, "out in"]:
        """Return the values in float32. Nothing is rounded."""
        return widen(self.bits)


@dataclass(frozen=True, eq=False)
class Float16(Quantized):
    """A matrix in float16, as a file stores it: 5 bits of exponent and 10 of fraction.

    Attributes:
        values: `[out, in]`, float16.
    """

    values: Array
    name = "float16"

    def dequantize(self) -> Float[Array, "out in"]:
        """Return the values in float32. Nothing is rounded."""
        return self.values.astype(np.float32)


def widen(bits: Array) -> Array:
    """Convert bfloat16 bit patterns (uint16) to float32: the same sign, exponent and fraction, then 16 zero bits."""
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)
