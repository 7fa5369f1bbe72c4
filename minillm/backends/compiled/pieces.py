"""Pieces: attention of the rows of a task over 64 keys, and how the pieces of a row are merged.

    keys    64 slots -> transposed to [4 panels, head_dim, 16 keys]     values -> [panels, 64 keys, 16 numbers]
    scores  rows x 64 = queries * keys      a product as in blocks.py: the inputs are the numbers of a head
    weights = exp(scores - max), sum        per row
    out     rows x head_dim = weights * values      a product again: the inputs are the keys, in their order
    merge   old * exp(old max - new max) + piece * exp(piece max - new max)       (online softmax)

The naive twin of all of it is `minillm/attention.py`, which computes the scores of all keys before the first softmax.

A key that a query does not see gets weight 0, and its value is not read: what later tokens hold, a NaN even, never
reaches an earlier one.
"""

from typing import Any

import numpy as np

from minillm.backends.compiled.blocks import MOST_ROWS, add_rows
from minillm.backends.compiled.compiling import inlined, kernel
from minillm.backends.compiled.exponential import exp
from minillm.backends.compiled.plan import PIECE
from minillm.backends.compiled.vectors import (
    lane_max,
    lane_sum,
    load,
    load_chosen_rows,
    multiply_add,
    splat,
    store,
    store_rows,
    transpose,
    zeros,
)
from minillm.backends.compiled.weights import LANES


@kernel
def gather_keys(keys: Any, slots: Any, head_dim: int, count: int, panels: Any) -> None:
    """Write the keys at `count` slots to panels `[4, head_dim, 16]`: number d of key 16 * panel + lane.

    The last panel is filled with keys at the slots that follow.
    """
    whole = head_dim - head_dim % 8
    for first in range(0, (count + LANES - 1) // LANES * LANES, 8):
        panel, lane = first // LANES, first % LANES
        for d in range(0, whole, 8):
            store_rows(panels[panel], (d, lane), transpose(load_chosen_rows(keys, slots, first, d, 8, 8)))
        for d in range(whole, head_dim):
            for k in range(8):
                panels[panel, d, lane + k] = keys[slots[first + k], d]


@kernel
def gather_values(values: Any, slots: Any, head_dim: int, count: int, panels: Any) -> None:
    """Write the values at `count` slots to panels `[_, 64, 16]`: number 16 * panel + lane of each; zeros at the end."""
    for k in range(count):
        slot = slots[k]
        for panel in range(panels.shape[0]):
            if panel * LANES + LANES <= head_dim:
                store(panels, (panel, k, 0), load(values, (slot, panel * LANES), LANES))
            else:
                for lane in range(LANES):
                    d = panel * LANES + lane
                    panels[panel, k, lane] = values[slot, d] if d < head_dim else 0


@inlined
def visible(position: int, window: int, first: int) -> tuple[int, int]:
    """Return which keys of the piece that begins at `first` a query sees: from, to. It sees none if from >= to."""
    return max(0, position + 1 - window - first), min(PIECE, position + 1 - first)


@inlined
def score_rows(q: Any, rows: int, keys: int, head_dim: int, key_panels: Any, scores: Any) -> None:
    """Write q @ keys to scores `[rows, 64]`, for the first `keys` keys of the piece and up to 15 after them."""
    for row in range(rows):
        store(scores, (row, 0), zeros(scores, PIECE))
    blocks = (rows + MOST_ROWS - 1) // MOST_ROWS
    nothing = np.int64(0)
    for panel in range((keys + LANES - 1) // LANES):
        for block in range(blocks):
            row, end = rows * block // blocks, rows * (block + 1) // blocks
            add_rows(end - row, q, row, nothing, nothing, head_dim, key_panels, panel, scores, row)


@inlined
def softmax_row(scores: Any, row: int, low: int, high: int, maxima: Any, sums: Any) -> None:
    """Replace the scores of a row by exp(score - max), 0 for keys it does not see. Note max and sum."""
    for k in range(min(low, PIECE)):
        scores[row, k] = -np.inf
    for k in range(max(high, 0), PIECE):
        scores[row, k] = -np.inf
    seen = load(scores, (row, 0), PIECE)
    highest = lane_max(seen)
    weights = exp(seen - splat(highest, PIECE))
    store(scores, (row, 0), weights)
    maxima[1, row], sums[1, row] = highest, lane_sum(weights)


@inlined
def weigh_values(
    weights: Any, rows: int, heads: int, position: int, window: int, first: int, value_panels: Any, outputs: Any
) -> None:
    """Write weights @ values to outputs. Rows that do not see the whole piece take only the keys they see."""
    for row in range(rows):
        for panel in range(value_panels.shape[0]):
            store(outputs, (row, panel * LANES), zeros(outputs, LANES))
    blocks = (rows + MOST_ROWS - 1) // MOST_ROWS
    nothing, last = np.int64(0), position + rows // heads - 1
    all_visible = position + 1 >= first + PIECE and last + 1 - window <= first
    for panel in range(value_panels.shape[0]):
        if all_visible:
            for block in range(blocks):
                row, end = rows * block // blocks, rows * (block + 1) // blocks
                add_rows(end - row, weights, row, nothing, nothing, np.int64(PIECE), value_panels, panel, outputs, row)
        else:
            for row in range(rows):
                if row % heads % MOST_ROWS == 0:  # the heads of one query see the same keys
                    low, high = visible(position + row // heads, window, first)
                    together = min(MOST_ROWS, heads - row % heads)
                    add_rows(together, weights, row, nothing, low, high, value_panels, panel, outputs, row)


@inlined
def factor(difference: Any) -> Any:
    """Return exp of one number, with the same operations as that of vectors."""
    return lane_max(exp(splat(difference, 4)))


@kernel
def merge(total: Any, maxima: Any, sums: Any, row: int, piece: Any, piece_row: int) -> None:
    """Merge piece[piece_row], with maxima[1, row] and sums[1, row], into total[row], maxima[0, row], sums[0, row]."""
    if sums[0, row] == 0:  # the first piece
        maxima[0, row], sums[0, row] = maxima[1, row], sums[1, row]
        for d in range(0, total.shape[1], LANES):
            store(total, (row, d), load(piece, (piece_row, d), LANES))
    else:
        highest = max(maxima[0, row], maxima[1, row])
        old, new = factor(maxima[0, row] - highest), factor(maxima[1, row] - highest)
        maxima[0, row] = highest
        sums[0, row] = multiply_add(sums[0, row], old, sums[1, row] * new)
        for d in range(0, total.shape[1], LANES):
            scaled = load(piece, (piece_row, d), LANES) * splat(new, LANES)
            store(total, (row, d), multiply_add(load(total, (row, d), LANES), splat(old, LANES), scaled))


@kernel
def attend_piece(
    q: Any, rows: int, heads: int, position: int, window: int, first: int, panels: Any, room: Any, totals: Any
) -> None:
    """Attend with the rows of a task over the piece that begins at `first`, and merge what they find into totals.

    Args:
        q: queries times 1 / sqrt(head_dim), `[64, head_dim]`: first all heads of the first query.
        rows, heads: number of rows, and of heads of each query.
        position: of the first query.
        window: as in `attention.attention`.
        first: position of the first key.
        panels: keys and values, as `gather_keys` and `gather_values` write them.
        room: for scores `[64, 64]`, and outputs of the piece `[64, padded]`.
        totals: outputs, maxima and sums of all pieces so far, see `merge`.
    """
    (key_panels, value_panels), (scores, outputs), (total, maxima, sums) = panels, room, totals
    last = position + rows // heads - 1
    score_rows(q, rows, min(PIECE, last + 1 - first), q.shape[1], key_panels, scores)
    for row in range(rows):
        low, high = visible(position + row // heads, window, first)
        softmax_row(scores, row, low, high, maxima, sums)
    weigh_values(scores, rows, heads, position, window, first, value_panels, outputs)
    for row in range(rows):
        low, high = visible(position + row // heads, window, first)
        if low < high:
            merge(total, maxima, sums, row, outputs, row)
