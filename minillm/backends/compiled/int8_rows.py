"""Keys and values in 8 bits: a row of head_dim numbers is rounded when it is written, and read as number * scale.

    row       0.31  -0.02   1.27  0.64        scale = largest magnitude / 127, rounded up to 12 significant bits
    stored      31     -2    127    64        numbers = row / scale, rounded to the nearest integer

    for d in range(head_dim):                   write: one loop for the scale, one for the numbers
        largest = max(largest, abs(row[d]))
    for d in range(head_dim):
        numbers[slot, d] = round(row[d] / scale)

    for k in range(64):                         read: the keys of a piece
        rows[k] = numbers[slots[k]] * scales[slots[k]]

The rule is that of `kv_cache/int8.py`, which says why, and gives the same bits: `quantize` and `dequantize` there are
the naive twins. Attention reads a piece of 64 keys into floats first, and then goes on as with a cache of floats.
"""

import math
from typing import Any

import numpy as np

from minillm.backends.compiled.compiling import kernel

SCALE_STEPS = 4096.0  # 2**12


@kernel
def write_int8(row: Any, numbers: Any, scales: Any, slot: int) -> None:
    """Round a row `[head_dim]` into numbers[slot] and scales[slot].

    A row with an infinity or a NaN gets scale NaN. Numbers that cannot be divided by the scale become 0. Those beyond
    127 scales, where float32 has no scale that fits, become 127 or -127.
    """
    largest = row.dtype.type(0)
    for d in range(row.size):
        magnitude = abs(row[d])
        if magnitude > largest or magnitude != magnitude:  # once it is NaN, it stays NaN
            largest = magnitude
    fraction, exponent = math.frexp(np.float64(np.float32(largest / row.dtype.type(127))))
    scale = np.float32(math.ldexp(np.ceil(fraction * SCALE_STEPS) / SCALE_STEPS, exponent))
    scale += np.float32(0) * scale  # infinity becomes NaN
    scales[slot] = scale
    for d in range(row.size):
        number = np.rint(row[d] / row.dtype.type(scale))
        numbers[slot, d] = np.int8(min(max(number, -127), 127)) if np.isfinite(number) else np.int8(0)


@kernel
def read_int8(numbers: Any, scales: Any, slots: Any, count: int, rows: Any) -> None:
    """Write number * scale, which is exact, of the first `count` slots to rows `[64, head_dim]`."""
    for k in range(count):
        slot = slots[k]
        scale = rows.dtype.type(scales[slot])
        for d in range(rows.shape[1]):
            rows[k, d] = rows.dtype.type(numbers[slot, d]) * scale
