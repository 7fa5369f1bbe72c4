"""int8: 8 bits for each weight, and a float16 scale for each group of 32. GGUF calls it Q8_0.

    weight = number * scale          number: -127 to 127, scale: the group's largest |weight| / 127

    group    0.31  -0.02   1.27 ...        scale 0.01
    numbers    31     -2    127 ...        error at most half a step, 0.005

A weight takes 8.5 bits: a decode step reads 0.27 of the bytes of float32. Outliers only cost precision in their own
group. Sources: Dettmers et al., LLM.int8(), 2208.07339, section 2; ggml's Q8_0.
"""

from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Float
from minillm.quantization.quantized import GROUP, Quantized, in_groups, scales_for, to_float32

LARGEST = 127  # not 128: the range is symmetric


@dataclass(frozen=True, eq=False)
class Int8(Quantized):
    """A matrix in 8 bits.

    Attributes:
        numbers: `[out, in]`, int8.
        scales: `[out, groups]`, float16.
    """

    numbers: Array
    scales: Array
    name = "int8"

    @classmethod
    def of(cls, values: Float[Array, "out in"]) -> "Int8":
        """Round each weight to the nearest multiple of its group's scale. A group of zeros has scale 0.

        Raises:
            ValueError: a value is infinite or not a number, or greater than 8.3 million.
        """
        groups = in_groups(to_float32(values))  # [out, groups, 32]
        scales = scales_for(np.abs(groups).max(axis=-1), LARGEST)
        steps = np.where(scales == 0, 1, scales).astype(np.float32)[..., None]
        numbers = np.rint(groups / steps).clip(-LARGEST, LARGEST).astype(np.int8)
        rows = numbers.reshape(len(values), groups.shape[1] * GROUP)
        return cls(rows[:, : values.shape[1]].copy(), scales)

    def dequantize(self) -> Float[Array, "out in"]:
        """Return number * scale, in float32."""
        scales = np.repeat(self.scales.astype(np.float32), GROUP, axis=1)[:, : self.columns]
        return self.numbers * scales
