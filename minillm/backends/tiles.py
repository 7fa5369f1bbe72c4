"""Tiles: a weight matrix cut into strips of 64 columns, so that a few rows are multiplied in the time of one.

OpenBLAS copies a matrix into an order of its own before it multiplies (Goto and van de Geijn, Anatomy of
High-Performance Matrix Multiplication, 2008, section 4), which for a few rows takes longer than the product. For
processors with AVX-512 it also has kernels that copy nothing, for products of at most a million multiplications. They
read a weight once, in order, if the matrix lies in strips as wide as the kernel, and NumPy multiplies a whole stack of
such strips in one call. Batches and speculative decoding live from this: eight rows take less than twice the time of
one, where ordinary products take three times as long. Other processors have no such kernels: see `tiles_pay`.
"""

from functools import cache

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.backends.threads import shared_matmul

WIDTH = 64  # columns of a tile: what the kernel computes at once
NOT_COPIED = 1_000_000  # up to so many multiplications OpenBLAS copies nothing, and uses one thread
SHARED = 16_000_000  # from so many on, a product is worth sharing among threads
FEW_ROWS = 64  # with more rows, one product over many tiles laid side by side is faster
SIDE_BY_SIDE = 16  # so many tiles


@cache
def tiles_pay() -> bool:
    """Whether this processor has the kernels that make tiles worth while."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return bool({"AVX512_SKX", "X86_V4"} & {*extensions.get("baseline", ()), *extensions.get("found", ())})


class Tiles:
    """A matrix `[inner, out]` in tiles.

    Attributes:
        shape: (inner, out).
        tiles: `[tiles, inner, 64]`; the last one is filled up with columns of zeros.
    """

    def __init__(self, weight: Float[Array, "inner out"]) -> None:
        """Copy a matrix into tiles."""
        inner, out = self.shape = weight.shape
        self.tiles = np.zeros((-(-out // WIDTH), inner, WIDTH), weight.dtype)
        for number, tile in enumerate(self.tiles):
            columns = weight[:, number * WIDTH : (number + 1) * WIDTH]
            tile[:, : columns.shape[1]] = columns

    def columns(self, numbers: Int[Array, "n"]) -> Float[Array, "n inner"]:
        """Some columns, as rows: how an embedding that shares its memory with the head is looked up."""
        return self.tiles[numbers // WIDTH, :, numbers % WIDTH]

    def multiply(self, x: Float[Array, "rows inner"]) -> Float[Array, "rows out"]:
        """x @ the matrix."""
        rows, out = len(x), self.shape[1]
        if rows == 1:  # two rows of a matrix product are faster than one matrix-vector product for each tile
            return self._few(np.concatenate([x, x]))[:1, :out]
        if rows == 0:  # a chunk of a prompt of which no logits are wanted
            return np.empty((0, out), x.dtype)
        return (self._few(x) if rows <= FEW_ROWS else self._many(x))[:, :out]

    def _few(self, x: Array) -> Array:
        """In groups of rows that are small enough not to be copied; each tile serves all of them while it is near."""
        rows, inner = x.shape
        most = max(1, NOT_COPIED // (inner * WIDTH))  # rows of a group
        groups = max(1, -(-rows // most))
        size = -(-rows // groups)
        product = np.empty((groups * size, len(self.tiles), WIDTH), x.dtype)
        if groups * size > rows:
            x = np.concatenate([x, np.zeros((groups * size - rows, inner), x.dtype)])
        # [groups, size, inner] @ [tiles, 1, inner, 64] -> [tiles, groups, size, 64]
        out = product.reshape(groups, size, len(self.tiles), WIDTH).transpose(2, 0, 1, 3)
        multiply = shared_matmul if x.size * self.shape[1] >= SHARED else np.matmul
        multiply(x.reshape(groups, size, inner), self.tiles[:, None], out=out)
        return product.reshape(groups * size, len(self.tiles) * WIDTH)[:rows]

    def _many(self, x: Array) -> Array:
        """One product for every 16 tiles, which are laid side by side for it."""
        product = np.empty((len(x), len(self.tiles) * WIDTH), x.dtype)
        for first in range(0, len(self.tiles), SIDE_BY_SIDE):
            tiles = self.tiles[first : first + SIDE_BY_SIDE]  # [16, inner, 64]
            wide = tiles.transpose(1, 0, 2).reshape(x.shape[1], -1)  # [inner, 16 * 64]
            np.matmul(x, wide, out=product[:, first * WIDTH : first * WIDTH + wide.shape[1]])
        return product
