"""Packed: a matrix in tiles, made of the parts that a file holds. `weights.py` says what its arrays mean."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minillm.arrays import Array
from minillm.backends.compiled.packing import pack_pairs, pack_rows
from minillm.backends.compiled.sharing import new_counters, share
from minillm.backends.compiled.weights import GROUP, TILE
from minillm.quantization import Bfloat16, Float16, Int4, Int8

EMPTY = np.empty((0, 0, 0), np.uint16)


class Packed(NamedTuple):
    """A matrix in tiles of 32 outputs.

    Attributes:
        numbers, scales, minimums: see weights.py; empty if the format lacks them.
        shape: (out, in), without padding.
    """

    numbers: Array
    scales: Array
    minimums: Array
    shape: tuple[int, int]

    @property
    def arrays(self) -> tuple[Array, Array, Array]:
        """Return numbers, scales and minimums, as kernels take them."""
        return self.numbers, self.scales, self.minimums


def pack(parts: Sequence[Any]) -> Packed:
    """Pack matrices of one class and one row length, one below the other. Outputs that fill the last tile are 0."""
    return pack_in_turn(sum(part.shape[0] for part in parts), parts)


def pack_in_turn(out: int, parts: Iterable[Any]) -> Packed:
    """Do the same with parts of `out` rows together.

    Each part is asked for when the one before is packed, so there is never a second copy of a large matrix.
    """
    numbers, end, inner = EMPTY, 0, 0
    scales, minimums = list[Array](), list[Array]()
    for part in parts:
        rows = _numbers(part)
        inner = part.shape[1]
        depth = -(-inner // GROUP) * 4 if isinstance(part, Int4) else inner
        numbers = numbers if end else _zeros(out, depth, np.int32 if isinstance(part, Int4) else rows.dtype)
        _fill(pack_pairs if isinstance(part, Int4) else pack_rows, numbers, rows, end)
        end += len(rows)
        scales += [part.scales] if isinstance(part, Int4 | Int8) else []
        minimums += [part.minimums] if isinstance(part, Int4) else []
        del part, rows  # before the next one is read
    return Packed(numbers, _factors(out, scales), _factors(out, minimums), (out, inner))


def _numbers(part: Any) -> Array:
    """Return the numbers `[rows, ...]` of a matrix: the bits of 16-bit floats."""
    if isinstance(part, Int4):
        return part.pairs
    if isinstance(part, Int8):
        return part.numbers
    if isinstance(part, Bfloat16):
        return part.bits
    return part.values.view(np.int16) if isinstance(part, Float16) else np.asarray(part)


def _factors(out: int, parts: Sequence[Array]) -> Array:
    """Pack scales or minimums, if there are any: as the bits of float16 numbers, unless a part needs float32."""
    if not parts:
        return EMPTY
    narrow = all(part.dtype == np.float16 for part in parts)
    factors, end = _zeros(out, parts[0].shape[1], np.uint16 if narrow else np.float32), 0
    for part in parts:
        _fill(pack_rows, factors, part.view(np.uint16) if narrow else part.astype(np.float32), end)
        end += len(part)
    return factors


def _zeros(out: int, depth: int, dtype: Any) -> Array:
    return np.zeros((-(-out // TILE), depth, TILE), dtype)


def _fill(kernel: Any, tiles: Array, rows: Array, first: int) -> None:
    share(rows.size, kernel, np.ascontiguousarray(rows), first, tiles, new_counters())
