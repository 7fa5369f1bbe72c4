"""Quantized: a matrix `[out, in]` stored in fewer bits, with a rule that gives its float32 values back.

Every format has its page: `bfloat16.py`, `int8.py`, `int4.py`. Each is the same three things:

    of(values)        quantise: round the values to the format           -> Quantized
    dequantize()      the rule: what the stored numbers mean             -> float32 [out, in]
    take(rows)        some rows, still quantised                         -> Quantized

The rows are those of the file: one for each output. A row is divided into *groups* of 32 weights, which share a scale.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from minillm.arrays import Array, Float

GROUP = 32  # weights that share a scale; the last group of a row may have fewer


@dataclass(frozen=True, eq=False)
class Quantized:
    """A matrix in a format of fewer bits. The arrays of a format are its fields, `[out, ...]` each."""

    name: ClassVar[str]

    @property
    def columns(self) -> int:
        """The length of a row: of the first array, unless a format packs several weights into one of its numbers."""
        return int(self.arrays()[0].shape[1])

    def arrays(self) -> tuple[Array, ...]:
        """Return the arrays that the matrix is stored in. Their first axis is `out`."""
        return tuple(getattr(self, name) for name in self._names())

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the matrix, (out, in)."""
        return len(self.arrays()[0]), self.columns

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the matrix takes."""
        return sum(array.nbytes for array in self.arrays())

    def take(self, rows: Any) -> Self:
        """Return these rows: a slice, or an array of row numbers. A slice copies nothing."""
        return self.with_arrays([array[rows] for array in self.arrays()])

    def with_arrays(self, arrays: list[Array]) -> Self:
        """Return a matrix of the same format and row length that is stored in these arrays."""
        return replace(self, **dict(zip(self._names(), arrays, strict=True)))

    def _names(self) -> list[str]:
        """Return the names of the fields that are arrays: all but the length of a row, if a format needs it."""
        return [field.name for field in fields(self) if field.name != "inner"]

    def dequantize(self) -> Float[Array, "out in"]:
        """Return the values in float32."""
        raise NotImplementedError


def in_groups(values: Float[Array, "out in"]) -> Float[Array, "out groups 32"]:
    """Divide each row into groups of 32. The last group is filled with copies of the row's last value."""
    out, inner = values.shape
    groups = math.ceil(inner / GROUP)
    if inner < groups * GROUP:  # else nothing is copied
        values = np.pad(values, ((0, 0), (0, groups * GROUP - inner)), mode="edge")
    return values.reshape(out, groups, GROUP)


def to_float32(values: Array) -> Array:
    """Return finite values in float32.

    Raises:
        ValueError: a value is infinite or not a number, also after rounding to float32: no scale can express it.
    """
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(narrow).all():
        raise ValueError("a weight is infinite or not a number, so it cannot be quantised")
    return narrow


def scales_for(largest: Float[Array, "out groups"], number: int) -> Array:
    """Return the float16 scales with which a number of at most `number` expresses every weight up to `largest`.

    The scale is largest / number, rounded to the nearest float16. Below 2**-14 float16 has few bits left. So if
    `number` times the scale is more than half a step short of `largest`, the next greater float16 is taken.

    Raises:
        ValueError: a scale is greater than the largest float16, 65,504.
    """
    scales = to_float16(largest / np.float32(number))
    short = (number + 0.5) * scales.astype(np.float32) < largest  # in float16's smallest numbers alone
    scales[short] = np.nextafter(scales[short], np.float16(1))
    return scales


def to_float16(values: Float[Array, "out groups"]) -> Array:
    """Round to the nearest float16.

    Raises:
        ValueError: a value is greater than the largest float16, 65,504.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise ValueError("a weight is too large for a float16 scale, so it cannot be quantised to 8 or 4 bits")
    return rounded
