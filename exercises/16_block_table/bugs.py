"""Wrong answers to `block_table`."""

import numpy as np


def as_if_contiguous(table, block_size, first, end):
    """Only the first block was looked up in the table. The blocks need not be contiguous: look up every block."""
    return table[0] * block_size + np.arange(first, end)


def offset_missing(table, block_size, first, end):
    """All tokens of a block got its first slot. Add the offset in the block."""
    positions = np.arange(first, end)
    return np.array(table, int)[positions // block_size] * block_size


def block_not_multiplied(table, block_size, first, end):
    """The number of a block is not the number of its first slot. Multiply it by the block size."""
    positions = np.arange(first, end)
    return np.array(table, int)[positions // block_size] + positions % block_size


def begins_at_position_0(table, block_size, first, end):
    """The slots begin at position 0 of the sequence. They must begin at position `first`."""
    positions = np.arange(0, end - first)
    return np.array(table, int)[positions // block_size] * block_size + positions % block_size


def end_included(table, block_size, first, end):
    """There is one slot too many: the position `end` itself is not included."""
    positions = np.minimum(np.arange(first, end + 1), len(table) * block_size - 1)
    return np.array(table, int)[positions // block_size] * block_size + positions % block_size


def offset_counted_from_first(table, block_size, first, end):
    """The offset was counted from `first`. The offset of a token is its own position % block_size."""
    positions = np.arange(first, end)
    return np.array(table, int)[positions // block_size] * block_size + (positions - first) % block_size
