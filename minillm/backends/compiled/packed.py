"""Packed: a matrix in tiles, made of the parts that a file holds. `weights.py` says what its arrays mean."""

from collections.abc import Sequence
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
    out, (_, inner) = sum(part.shape[0] for part in parts), parts[0].shape
    groups = -(-inner // GROUP)
    first = parts[0]
    if isinstance(first, Int4):
        numbers = _zeros(out, groups * 4, np.int32)
        _fill(pack_pairs, numbers, [part.pairs for part in parts])
        return Packed(numbers, _factors([p.scales for p in parts]), _factors([p.minimums for p in parts]), (out, inner))
    if isinstance(first, Int8):
        return Packed(_rows([p.numbers for p in parts]), _factors([p.scales for p in parts]), EMPTY, (out, inner))
    if isinstance(first, Bfloat16):
        return Packed(_rows([part.bits for part in parts]), EMPTY, EMPTY, (out, inner))
    if isinstance(first, Float16):
        return Packed(_rows([part.values.view(np.int16) for part in parts]), EMPTY, EMPTY, (out, inner))
    return Packed(_rows(parts), EMPTY, EMPTY, (out, inner))


def _factors(parts: Sequence[Array]) -> Array:
    """Pack scales or minimums: as the bits of float16 numbers, unless a part needs float32."""
    if all(part.dtype == np.float16 for part in parts):
        return _rows([part.view(np.uint16) for part in parts])
    return _rows([part.astype(np.float32) for part in parts])


def _rows(parts: Sequence[Any]) -> Array:
    tiles = _zeros(sum(map(len, parts)), parts[0].shape[1], parts[0].dtype)
    _fill(pack_rows, tiles, parts)
    return tiles


def _zeros(out: int, depth: int, dtype: Any) -> Array:
    return np.zeros((-(-out // TILE), depth, TILE), dtype)


def _fill(kernel: Any, tiles: Array, parts: Sequence[Any]) -> None:
    first = 0
    for part in parts:
        share(part.size, kernel, np.ascontiguousarray(part), first, tiles, new_counters())
        first += len(part)
