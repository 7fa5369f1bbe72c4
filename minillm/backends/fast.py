"""The `numpy` backend: the same arithmetic as `plain`, with the NumPy calls that are fastest on ordinary processors."""

import numpy as np

from minillm.arrays import Array
from minillm.attention import Pieces
from minillm.backends.plain import Plain

QUERY_TILE = 64


class Fast(Plain):
    """Decode with matrix-vector products; prefill in tiles, so that no square matrix of scores is ever made."""

    name = "numpy"

    def attend(self, q: Array, pieces: Pieces, start: int, window: int | None) -> Array:
        """Tiles of 64 queries, each over the keys up to its own end: half the work, memory linear in the length.

        The naive twin is `attention.attend` on all queries at once; rows do not depend on each other.
        """
        if len(q) <= QUERY_TILE or len(pieces) > 1:
            return super().attend(q, pieces, start, window)
        keys, values = pieces[0]
        tiles = []
        for first in range(0, len(q), QUERY_TILE):
            tile = q[first : first + QUERY_TILE]
            end = start + first + len(tile)
            tiles.append(super().attend(tile, [(keys[:, :end], values[:, :end])], start + first, window))
        return np.concatenate(tiles)
