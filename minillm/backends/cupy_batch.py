"""DeviceBatch: the integers of a step on a GPU, sent in one copy.

The integers are one array on the device, the *message*. Its fields follow each other:

    tokens | positions | logit indices | owners | sequences | block tables | query tiles
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.arrays import Array, Int
from minillm.ragged_batch import RaggedBatch

FEW_ROWS = 32  # rows up to which our own kernel multiplies; with more rows cuBLAS is faster
TABLE_PADDING = 64  # block tables grow by 64 entries at a time, so that most steps have the shape of the step before


@dataclass(frozen=True)
class DeviceBatch(RaggedBatch):
    """A ragged batch whose integers are on the device, and the addresses of the caches, for the attention kernels.

    Attributes:
        owners: `[tokens]`, the sequence of each row.
        sequences: `[sequences, 8]`, see kernels.cu.
        tables: all block tables, end to end.
        query_tiles: the first row of every query tile; empty if a step is mostly decoding.
        shape: two steps with the same shape can replay one graph; None if there are too many rows.
    """

    owners: Array
    sequences: Array
    tables: Array
    query_tiles: Array
    shape: tuple[int, ...] | None


def integers_of(batch: RaggedBatch, queries: int) -> list[Int[Array, "numbers"]]:
    """Return the fields of the message; `queries` is the number of rows in a query tile."""
    owners = np.repeat(np.arange(len(batch.spans)), [span.stop - span.start for span in batch.spans])
    sequences, tables = _sequences_and_tables(batch)
    integers = [batch.tokens, batch.positions, batch.logit_indices]
    return [*integers, owners, sequences, tables, _query_tiles(batch, queries)]


def device_batch(
    batch: RaggedBatch, message: Int[Array, "numbers"], shape: tuple[int, ...], kept_shape: tuple[int, ...] | None
) -> DeviceBatch:
    """Return the batch whose fields are views of the message; `shape` has their lengths."""
    ends = [int(end) for end in np.cumsum(shape)]
    tokens, positions, logit_indices, owners, sequences, tables, query_tiles = (
        message[end - size : end] for end, size in zip(ends, shape, strict=True)
    )
    integers = tokens, positions, logit_indices, batch.spans, batch.caches
    return DeviceBatch(*integers, owners, sequences, tables, query_tiles, kept_shape)


def _query_tiles(batch: RaggedBatch, queries: int) -> Int[Array, "tiles"]:
    """Return the first row of each query tile; none for at most 32 rows, or 2 per sequence on average.

    All queries of a tile use a key once it has been read.
    """
    if len(batch.tokens) <= max(FEW_ROWS, 2 * len(batch.spans)):
        return np.arange(0)
    return np.concatenate([np.arange(span.start, span.stop, queries) for span in batch.spans])


def _sequences_and_tables(batch: RaggedBatch) -> tuple[Int[Array, "numbers"], Int[Array, "entries"]]:
    """Return a `Sequence` of kernels.cu for each sequence, end to end, and all block tables."""
    sequences: list[int] = []
    tables: list[int] = []
    for span, cache in zip(batch.spans, batch.caches, strict=True):
        layout: Any = cache.layout()
        addresses = [layout.keys.data.ptr, layout.values.data.ptr]
        sequences += [*addresses, layout.keys.shape[2], layout.block_size, len(tables), cache.length, span.start]
        sequences.append(span.stop - span.start)
        tables += layout.table
    tables += [0] * (-len(tables) % TABLE_PADDING)
    return np.array(sequences), np.array(tables)
