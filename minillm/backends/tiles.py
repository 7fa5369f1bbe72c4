"""TiledWeight: a matrix stored as weight tiles of 64 columns, so that a few rows cost little more than one.

`strips.py` explains why a few rows are not multiplied with the whole matrix. A weight strip is a view of the matrix in
its ordinary layout. A *weight tile* is a copy, made at load: 64 columns, as many as the kernel computes at once, stored
contiguously. So each weight is read once and in order. Eight rows take less than twice the time of one row, where
ordinary products take three times as long. A single row takes longer, so not all processors gain: see `tiling_pays`.
"""

from functools import cache

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.backends.strips import NOT_COPIED, THREADED, copies_nothing, simd_extensions
from minillm.backends.threads import matmul_in_tasks

WIDTH = 64  # columns of a tile: the kernel computes 64 outputs at once
MOST_ROWS = 64  # with more rows, OpenBLAS's copy of the matrix pays, and OpenBLAS divides the product among threads


@cache
def tiling_pays() -> bool:
    """Return whether this processor has the kernels that tiles need, and a core that reads memory fast enough.

    With tiles only large products are split over threads. That is enough on AMD's Zen 4, where one core reaches most of
    the memory's bandwidth. On Intel's Sapphire Rapids (AVX512_SPR) a core reaches less than half of it. There a decode
    step takes 1.6 to 1.9 times as long with tiles as in the ordinary layout, where OpenBLAS splits every product.
    """
    return copies_nothing() and "AVX512_SPR" not in simd_extensions()


class TiledWeight:
    """A matrix `[inner, out]` in weight tiles.

    Attributes:
        shape: (inner, out).
        tiles: `[tiles, inner, 64]`. The last tile is padded with columns of zeros.
    """

    def __init__(self, weight: Float[Array, "inner out"]) -> None:
        inner, out = self.shape = weight.shape
        self.tiles = np.zeros((-(-out // WIDTH), inner, WIDTH), weight.dtype)
        for number, tile in enumerate(self.tiles):
            columns = weight[:, number * WIDTH : (number + 1) * WIDTH]
            tile[:, : columns.shape[1]] = columns

    def columns(self, numbers: Int[Array, "n"]) -> Float[Array, "n inner"]:
        """Return the columns with these numbers, as rows: the embedding of these tokens in a tied head."""
        return self.tiles[numbers // WIDTH, :, numbers % WIDTH]

    def multiply(self, x: Float[Array, "rows inner"]) -> Float[Array, "rows out"]:
        """Return x @ the matrix."""
        rows, out = len(x), self.shape[1]
        if rows == 1:  # a matrix product of two rows is faster than a matrix-vector product for each tile
            return self.multiply(np.concatenate([x, x]))[:1]
        if rows > MOST_ROWS:
            product = np.empty((rows, len(self.tiles), WIDTH), x.dtype)
            np.matmul(x, self.tiles, out=product.transpose(1, 0, 2))  # [rows, inner] @ [tiles, inner, 64]
        else:
            product = self._in_groups(x)
        return product.reshape(len(product), len(self.tiles) * WIDTH)[:rows, :out]

    def _in_groups(self, x: Float[Array, "rows inner"]) -> Float[Array, "rows_and_padding tiles 64"]:
        """Multiply in groups of rows, each small enough that OpenBLAS copies nothing.

        All groups use a tile before the next tile is read, while it is still in the processor's caches.
        """
        rows, inner = x.shape
        most = max(1, NOT_COPIED // (inner * WIDTH))  # rows in a group
        groups = max(1, -(-rows // most))
        size = -(-rows // groups)
        product = np.empty((groups * size, len(self.tiles), WIDTH), x.dtype)
        if groups * size > rows:
            x = np.concatenate([x, np.zeros((groups * size - rows, inner), x.dtype)])
        # [groups, size, inner] @ [tiles, 1, inner, 64] -> [tiles, groups, size, 64]
        out = product.reshape(groups, size, len(self.tiles), WIDTH).transpose(2, 0, 1, 3)
        multiply = matmul_in_tasks if x.size * self.shape[1] >= THREADED else np.matmul
        multiply(x.reshape(groups, size, inner), self.tiles[:, None], out=out)
        return product
