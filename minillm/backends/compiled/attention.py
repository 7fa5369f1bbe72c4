"""Attention over caches: the queries of a ragged batch, keys and values read where the caches keep them.

A *task* is a few queries of one sequence and the query heads that share a key head, so their rows read the same keys.
16 queries of a group of 3 heads are 48 rows. Keys are read in *pieces* that begin at multiples of 64 positions:

    position   0 ......... 63 | 64 ........ 127 | 128 .. 150        a query at position 150
               piece 0        | piece 1         | piece 2
               max, sum, out  | max, sum, out   | max, sum, out     softmax of each piece on its own
               ------------------- merged in this order ----------

For each piece:

    keys    64 slots -> transposed to [4 panels, head_dim, 16 keys]     values -> [panels, 64 keys, 16 numbers]
    scores  rows x 64 = queries * keys      a product as in blocks.py: the inputs are the numbers of a head
    weights = exp(scores - max), sum        per row
    out     rows x head_dim = weights * values      a product again: the inputs are the keys, in their order
    merge   old * exp(old max - new max) + piece * exp(piece max - new max)       (online softmax)

The order of operations of a row depends on the position of its query and of its keys, and on nothing else: not on the
blocks of the cache, the chunk, the other rows, or the threads. In decode a task may be a single piece, so that several
threads share one sequence. Then `merge_items` merges the pieces, in the same order with the same operations.

A key that a query does not see gets weight 0, and its value is not read: what later tokens hold, a NaN even, never
reaches an earlier one. Sources: Milakov and Gimelshein, Online normalizer calculation for softmax, 1805.02867; Dao et
al., FlashAttention, 2205.14135; Kwon et al., PagedAttention, 2309.06180.
"""

from typing import Any

import numpy as np

from minillm.backends.compiled.blocks import MOST_ROWS, add_rows
from minillm.backends.compiled.compiling import inlined, kernel
from minillm.backends.compiled.exponential import exp
from minillm.backends.compiled.sharing import done_take_next, take, wait
from minillm.backends.compiled.vectors import (
    address_of,
    array_at,
    lane_max,
    lane_sum,
    load,
    load_chosen_rows,
    multiply_add,
    splat,
    stack_array,
    store,
    store_rows,
    transpose,
    zeros,
)
from minillm.backends.compiled.weights import LANES

PIECE = 64  # keys
ROWS = 64  # most rows of a task: queries times heads
LARGEST_HEAD = 256  # numbers
KEY_NUMBERS, ROW_NUMBERS = PIECE * LARGEST_HEAD, ROWS * LARGEST_HEAD
NO_WINDOW = 1 << 40

# Fields of a sequence: addresses of its keys and values [layers, kv_heads, slots, head_dim], their slots, the size of a
# block, where its block table begins in `tables`, its first row, and the number of tokens cached before these rows.
KEYS, VALUES, SLOTS, BLOCK_SIZE, TABLE, FIRST_ROW, LENGTH = range(7)
# Fields of a task: its sequence, first head and number of heads, first query and number of queries, pieces, and the
# first row of `partials` that it writes; -1: it writes to the output.
SEQUENCE, HEAD, HEADS, QUERY, QUERIES, FIRST_PIECE, END_PIECE, PARTIAL = range(8)
# Fields of a merge: token, first head, number of heads, first partial, number of partials, rows from one to the next.
MERGED_TOKEN, MERGED_HEAD, MERGED_HEADS, FIRST_PARTIAL, PARTIALS, PARTIAL_STEP = range(6)


@inlined
def slot_of(sequences: Any, tables: Any, s: int, position: int) -> int:
    """Return the slot of a position of sequence s."""
    size = sequences[s, BLOCK_SIZE]
    return tables[sequences[s, TABLE] + position // size] * size + position % size


@kernel
def gather_keys(keys: Any, slots: Any, head_dim: int, panels: Any) -> None:
    """Write the keys at 64 slots to panels `[4, head_dim, 16]`: number d of key 16 * panel + lane."""
    whole = head_dim - head_dim % 8
    for first in range(0, PIECE, 8):
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
def merge(maxima: Any, sums: Any, row: int, piece: Any, piece_row: int, total: Any) -> None:
    """Merge a piece, with max and sum in maxima[1, row] and sums[1, row], into total[row], maxima[0], sums[0]."""
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
    q: Any,
    rows: int,
    heads: int,
    position: int,
    window: int,
    first: int,
    key_panels: Any,
    value_panels: Any,
    scores: Any,
    outputs: Any,
    total: Any,
    maxima: Any,
    sums: Any,
) -> None:
    """Attend with all rows of a task over the piece that begins at `first`. The first query is at `position`."""
    last = position + rows // heads - 1
    score_rows(q, rows, min(PIECE, last + 1 - first), q.shape[1], key_panels, scores)
    for row in range(rows):
        low, high = visible(position + row // heads, window, first)
        softmax_row(scores, row, low, high, maxima, sums)
    weigh_values(scores, rows, heads, position, window, first, value_panels, outputs)
    for row in range(rows):
        low, high = visible(position + row // heads, window, first)
        if low < high:
            merge(maxima, sums, row, outputs, row, total)


@kernel
def attention_items(
    q: Any,
    layer: int,
    kv_heads: int,
    window: int,
    sequences: Any,
    tables: Any,
    tasks: Any,
    partials: Any,
    out: Any,
    counters: Any,
    phase: int,
) -> None:
    """Work through the tasks of a layer. The arrays on the stack take 340 KB."""
    heads, head_dim = out.shape[1], out.shape[2]
    padded = (head_dim + LANES - 1) // LANES * LANES
    key_panels = array_at(q, address_of(stack_array(q, (KEY_NUMBERS,)), 0), (PIECE // LANES, head_dim, LANES))
    value_panels = array_at(q, address_of(stack_array(q, (KEY_NUMBERS,)), 0), (padded // LANES, PIECE, LANES))
    queries = array_at(q, address_of(stack_array(q, (ROW_NUMBERS,)), 0), (ROWS, head_dim))
    outputs = array_at(q, address_of(stack_array(q, (ROW_NUMBERS,)), 0), (ROWS, padded))
    total = array_at(q, address_of(stack_array(q, (ROW_NUMBERS,)), 0), (ROWS, padded))
    scores = stack_array(q, (ROWS, PIECE))
    maxima, sums = stack_array(q, (2, ROWS)), stack_array(q, (2, ROWS))  # [0]: of all pieces so far, [1]: of one piece
    slots = stack_array(tables, (PIECE,))
    scale = q.dtype.type(1 / np.sqrt(head_dim))
    task = take(counters, phase)
    while task < len(tasks):
        s, head, count = tasks[task, SEQUENCE], tasks[task, HEAD], tasks[task, HEADS]
        rows, token = count * tasks[task, QUERIES], sequences[s, FIRST_ROW] + tasks[task, QUERY]
        for row in range(rows):
            sums[0, row] = 0
            for d in range(head_dim):
                queries[row, d] = q[token + row // count, head + row % count, d] * scale
        place = (layer * kv_heads + head // (heads // kv_heads)) * sequences[s, SLOTS] * head_dim * q.itemsize
        keys = array_at(q, sequences[s, KEYS] + place, (sequences[s, SLOTS], head_dim))
        values = array_at(q, sequences[s, VALUES] + place, (sequences[s, SLOTS], head_dim))
        position = sequences[s, LENGTH] + tasks[task, QUERY]
        last = position + tasks[task, QUERIES] - 1
        in_window = max(0, position + 1 - window) // PIECE
        for piece in range(max(in_window, tasks[task, FIRST_PIECE]), tasks[task, END_PIECE]):
            first = piece * PIECE
            for k in range(PIECE):  # after the last key, the last key again: no slot that was never written is read
                slots[k] = slot_of(sequences, tables, s, min(first + k, last))
            gather_keys(keys, slots, head_dim, key_panels)
            gather_values(values, slots, head_dim, min(PIECE, last + 1 - first), value_panels)
            attend_piece(
                queries,
                rows,
                count,
                position,
                window,
                first,
                key_panels,
                value_panels,
                scores,
                outputs,
                total,
                maxima,
                sums,
            )
        for row in range(rows):
            if tasks[task, PARTIAL] < 0:
                for d in range(head_dim):
                    out[token + row // count, head + row % count, d] = total[row, d] / sums[0, row]
            else:
                partial = tasks[task, PARTIAL] + row
                for d in range(padded):
                    partials[partial, d] = total[row, d]
                partials[partial, padded], partials[partial, padded + 1] = maxima[0, row], sums[0, row]
        task = done_take_next(counters, phase)
    wait(counters, phase, len(tasks))


@kernel
def merge_items(merges: Any, partials: Any, out: Any, counters: Any, phase: int) -> None:
    """Merge what tasks with one piece each have written to `partials`, in the order of the pieces."""
    padded = partials.shape[1] - 2
    total = array_at(out, address_of(stack_array(out, (ROW_NUMBERS,)), 0), (ROWS, padded))
    maxima, sums = stack_array(out, (2, ROWS)), stack_array(out, (2, ROWS))
    item = take(counters, phase)
    while item < len(merges):
        for row in range(merges[item, MERGED_HEADS]):
            sums[0, row] = 0
            for number in range(merges[item, PARTIALS]):
                partial = merges[item, FIRST_PARTIAL] + number * merges[item, PARTIAL_STEP] + row
                maxima[1, row], sums[1, row] = partials[partial, padded], partials[partial, padded + 1]
                if sums[1, row] != 0:  # 0: the piece is outside the window
                    merge(maxima, sums, row, partials, partial, total)
            for d in range(out.shape[2]):
                out[merges[item, MERGED_TOKEN], merges[item, MERGED_HEAD] + row, d] = total[row, d] / sums[0, row]
        item = done_take_next(counters, phase)
    wait(counters, phase, len(merges))


@kernel
def attention(
    q: Any,
    layer: int,
    kv_heads: int,
    window: int,
    sequences: Any,
    tables: Any,
    tasks: Any,
    merges: Any,
    partials: Any,
    out: Any,
    counters: Any,
) -> None:
    """Attend with all queries of a ragged batch over caches that already hold their own keys and values.

    Args:
        q: `[tokens, heads or more, head_dim]`: query heads come first; others may follow.
        layer: whose keys and values are read.
        kv_heads: number of key heads.
        window: number of last keys that a query sees, its own included; NO_WINDOW for all.
        sequences, tables, tasks, merges, partials: what `plan.plan` returns.
        out: `[tokens, heads, head_dim]`.
        counters: `new_counters(2)`.
    """
    attention_items(q, layer, kv_heads, window, sequences, tables, tasks, partials, out, counters, np.int64(0))
    if len(merges):
        merge_items(merges, partials, out, counters, np.int64(1))
