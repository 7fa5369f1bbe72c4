"""TiledWeight: strips of 64 columns that are laid apart at load, so that a few rows are multiplied in the time of one.

`strips.py` says why a matrix is cut into strips, and takes them from the matrix as it lies. Here each lies together, as
wide as the kernel, so a weight is read once and in order: eight rows take less than twice the time of one, where
ordinary products take three times as long. Not all processors gain, since one row takes longer: see `tiling_pays`.
"""

from functools import cache

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.backends.strips import NOT_COPIED, SHARED, copies_nothing, simd_extensions
from minillm.backends.threads import shared_matmul

WIDTH = 64  # columns of a tile: what the kernel computes at once
MOST_ROWS = 64  # more rows pay for copying the matrix, and OpenBLAS shares them among threads itself


@cache
def tiling_pays() -> bool:
    """Whether this processor has the kernels that make tiles worth while, and a core that reads fast enough.

    With tiles, threads share only large products. That is enough on AMD's Zen 4, where one core has most of the
    memory's bandwidth. On Intel's Sapphire Rapids (AVX512_SPR) a core has less than half of it, and a decode step takes
    1.6 to 1.9 times as long in tiles as in the ordinary order, in which OpenBLAS shares every product.
    """
    return copies_nothing() and "AVX512_SPR" not in simd_extensions()


class TiledWeight:
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
            return self.multiply(np.concatenate([x, x]))[:1]
        if rows > MOST_ROWS:
            product = np.empty((rows, len(self.tiles), WIDTH), x.dtype)
            np.matmul(x, self.tiles, out=product.transpose(1, 0, 2))  # [rows, inner] @ [tiles, inner, 64]
        else:
            product = self._in_groups(x)
        return product.reshape(len(product), len(self.tiles) * WIDTH)[:rows, :out]

    def _in_groups(self, x: Float[Array, "rows inner"]) -> Float[Array, "rows_and_padding tiles 64"]:
        """Groups of so few rows that nothing is copied; each tile serves all of them while it is near."""
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
        return product
