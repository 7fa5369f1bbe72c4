"""Plan: the tasks of attention and the addresses of caches, worked out once before the first layer of a step.

A *task* is a few queries of one sequence and the query heads that share a key head, so their rows read the same keys.
16 queries of a group of 3 heads are 48 rows. With few tasks (decode), each piece of 64 keys becomes a task of its own,
so that several threads share one sequence. A *merge* then joins the pieces of one query (`attention.py`).
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from minillm.arrays import Array
from minillm.backends.compiled.weights import LANES
from minillm.ragged_batch import CacheLayout

PIECE = 64  # keys
ROWS = 64  # most rows of a task: queries times heads
LARGEST_HEAD = 256  # numbers
MOST_QUERIES = 16  # of a task
ENOUGH_TASKS = 8  # with fewer, each piece becomes a task of its own

# Columns of `sequences`: addresses of its keys and values [layers, kv_heads, slots, head_dim] and, if these are int8,
# of their scales [layers, kv_heads, slots], else 0; the number of slots, the size of a block, where its block table
# begins in `tables`, its first row, and the number of tokens cached before these rows.
KEYS, VALUES, KEY_SCALES, VALUE_SCALES, SLOTS, BLOCK_SIZE, TABLE, FIRST_ROW, LENGTH = range(9)
# Columns of `tasks`: its sequence, first head and number of heads, first query and number of queries, pieces, and the
# first row of `partials` that it writes; -1: it writes to the output.
SEQUENCE, HEAD, HEADS, QUERY, QUERIES, FIRST_PIECE, END_PIECE, PARTIAL = range(8)
# Columns of `merges`: token, first head, number of heads, first partial, number of partials, rows from one to the next.
MERGED_TOKEN, MERGED_HEAD, MERGED_HEADS, FIRST_PARTIAL, PARTIALS, PARTIAL_STEP = range(6)


class Plan(NamedTuple):
    """Tables of integers for the kernels of `attention.py` and `step.py`, and room for what tasks hand to merges.

    Attributes:
        sequences: `[sequences, 9]`.
        owners: `[tokens]`, the sequence of each row.
        tables: all block tables, end to end.
        tasks: `[tasks, 8]`.
        merges: `[merges, 6]`.
        partials: `[_, padded head_dim + 2]`: room for the outputs, maxima and sums of tasks with one piece.
    """

    sequences: Array
    owners: Array
    tables: Array
    tasks: Array
    merges: Array
    partials: Array


def check_head_dim(head_dim: int) -> None:
    """Raise ValueError if keys of this size do not fit into the room that attention has for them."""
    if head_dim > LARGEST_HEAD:
        raise ValueError(
            f"head_dim is {head_dim}; the compiled backend takes at most {LARGEST_HEAD}; use another backend"
        )


def plan(
    layouts: Sequence[CacheLayout],
    new: Sequence[int],
    lengths: Sequence[int],
    heads: int,
    kv_heads: int,
    dtype: np.dtype[Any],
) -> Plan:
    """Divide the queries of a ragged batch into tasks.

    Args:
        layouts: where the tokens of each sequence are.
        new: for each sequence, the number of its rows.
        lengths: for each sequence, the number of tokens cached before these rows.
        heads, kv_heads: of a layer.
        dtype: of queries.

    Raises:
        ValueError: head_dim is greater than 256.
    """
    head_dim = layouts[0].keys.shape[3]
    check_head_dim(head_dim)
    # The one query of a decode step sees the same pieces until a new one begins, so its tasks are known 63 times of 64.
    begun = [length - length % PIECE if n == 1 else length for n, length in zip(new, lengths, strict=True)]
    tasks, merges, partials = _tasks(tuple(new), tuple(begun), heads, kv_heads)
    padded = -(-head_dim // LANES) * LANES
    return Plan(*_addresses(layouts, new, lengths), tasks, merges, np.empty((partials, padded + 2), dtype))


@lru_cache(maxsize=8)
def _tasks(new: Sequence[int], lengths: Sequence[int], heads: int, kv_heads: int) -> tuple[Array, Array, int]:
    """Return tasks, merges and the number of partials."""
    group, starts = heads // kv_heads, [0, *accumulate(new)]
    head_runs = [
        (h, min(ROWS, end - h)) for end in range(group, heads + 1, group) for h in range(end - group, end, ROWS)
    ]
    queries = max(1, min(MOST_QUERIES, ROWS // min(group, ROWS)))
    split = sum(-(-n // queries) for n in new) * len(head_runs) < ENOUGH_TASKS
    tasks, merges, partials = list[Any](), list[Any](), 0
    for s, (n, length) in enumerate(zip(new, lengths, strict=True)):
        for head, count in head_runs:
            for query in range(0, n, queries):
                some = min(queries, n - query)
                pieces = (length + query + some - 1) // PIECE + 1
                task = (s, head, count, query, some)
                if not split or pieces == 1:
                    tasks.append((*task, 0, pieces, -1))
                    continue
                rows = count * some
                tasks.extend((*task, piece, piece + 1, partials + piece * rows) for piece in range(pieces))
                first = starts[s] + query
                merges.extend((first + i, head, count, partials + i * count, pieces, rows) for i in range(some))
                partials += pieces * rows
    return _table(tasks, 8), _table(merges, 6), partials


def _addresses(
    layouts: Sequence[CacheLayout], new: Sequence[int], lengths: Sequence[int]
) -> tuple[Array, Array, Array]:
    """Return sequences, owners and tables. The arrays of a layout have to stay in memory while a kernel runs."""
    sequences, starts, table_start = [], [0, *accumulate(new)], 0
    for s, (layout, length) in enumerate(zip(layouts, lengths, strict=True)):
        arrays = [address(a) for a in (layout.keys, layout.values, layout.key_scales, layout.value_scales)]
        table = layout.block_size, table_start
        sequences.append((*arrays, layout.keys.shape[2], *table, starts[s], length))
        table_start += len(layout.table)
    owners = np.repeat(np.arange(len(layouts)), new)
    return _table(sequences, 9), owners, np.concatenate([np.asarray(layout.table, np.int64) for layout in layouts])


def address(array: Array | None) -> int:
    """Return where the numbers of an array begin in memory; 0 if there is no array."""
    if array is None or not array.size:
        return 0
    assert array.flags.c_contiguous, "kernels compute the addresses of numbers from the first one's"
    return int(array.__array_interface__["data"][0])  # `array.ctypes` takes ten times as long


def _table(rows: list[Any], columns: int) -> Array:
    return np.array(rows, np.int64).reshape(-1, columns)
