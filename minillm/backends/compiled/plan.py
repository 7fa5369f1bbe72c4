"""Plan: the tasks of attention and the addresses of caches, worked out once before the first layer of a step."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minillm.arrays import Array
from minillm.backends.compiled.attention import LANES, LARGEST_HEAD, PIECE, ROWS
from minillm.ragged_batch import CacheLayout

QUERIES = 16  # of a task
ENOUGH_TASKS = 8  # with fewer, each piece becomes a task of its own


class Plan(NamedTuple):
    """Integers for the kernels of `attention.py`, which names their columns.

    Attributes:
        sequences: `[sequences, 7]`.
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


def plan(layouts: Sequence[CacheLayout], new: Sequence[int], lengths: Sequence[int], heads: int, kv_heads: int) -> Plan:
    """Divide the queries of a ragged batch into tasks.

    Args:
        layouts: where the tokens of each sequence are.
        new: for each sequence, the number of its rows.
        lengths: for each sequence, the number of tokens cached before these rows.
        heads, kv_heads: of a layer.

    Raises:
        ValueError: head_dim is greater than 256.
    """
    head_dim, dtype = layouts[0].keys.shape[3], layouts[0].keys.dtype
    if head_dim > LARGEST_HEAD:
        raise ValueError(f"head_dim is {head_dim}; the compiled backend takes at most {LARGEST_HEAD}")
    group = heads // kv_heads
    head_runs = [
        (h, min(ROWS, end - h)) for end in range(group, heads + 1, group) for h in range(end - group, end, ROWS)
    ]
    queries = max(1, min(QUERIES, ROWS // min(group, ROWS)))
    split = sum(-(-n // queries) for n in new) * len(head_runs) < ENOUGH_TASKS
    starts = np.cumsum([0, *new])
    tasks, merges, partials = [], [], 0
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
                first = int(starts[s]) + query
                merges.extend((first + i, head, count, partials + i * count, pieces, rows) for i in range(some))
                partials += pieces * rows
    padded = -(-head_dim // LANES) * LANES
    return Plan(
        *_addresses(layouts, starts, lengths),
        _table(tasks, 8),
        _table(merges, 6),
        np.empty((partials, padded + 2), dtype),
    )


def _addresses(layouts: Sequence[CacheLayout], starts: Array, lengths: Sequence[int]) -> tuple[Array, Array, Array]:
    """Return sequences, owners and tables. The arrays of a layout have to stay in memory while a kernel runs."""
    sequences, table_start = [], 0
    for s, (layout, length) in enumerate(zip(layouts, lengths, strict=True)):
        keys, values = layout.keys, layout.values
        assert keys.flags.c_contiguous and values.flags.c_contiguous, "kernels compute the addresses of slots"
        sequences.append(
            (
                keys.ctypes.data,
                values.ctypes.data,
                keys.shape[2],
                layout.block_size,
                table_start,
                int(starts[s]),
                length,
            )
        )
        table_start += len(layout.table)
    owners = np.repeat(np.arange(len(layouts)), np.diff(starts))
    return _table(sequences, 7), owners, np.concatenate([np.asarray(layout.table, np.int64) for layout in layouts])


def _table(rows: list[Any], columns: int) -> Array:
    return np.array(rows, np.int64).reshape(-1, columns)
