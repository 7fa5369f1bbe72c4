"""Wrong answers to `block_table`."""

import numpy as np


def as_if_contiguous(table, block_size, first, end):
    """The table was looked up once, for the first block: each block may lie anywhere."""
    return table[0] * block_size + np.arange(first, end)


def place_forgotten(table, block_size, first, end):
    """All tokens of a block got its first slot: add the place inside the block."""
    tokens = np.arange(first, end)
    return np.array(table, int)[tokens // block_size] * block_size


def block_not_multiplied(table, block_size, first, end):
    """The number of a block is not its first slot: multiply it by the block size."""
    tokens = np.arange(first, end)
    return np.array(table, int)[tokens // block_size] + tokens % block_size


def begins_at_the_first_token(table, block_size, first, end):
    """The slots are those from the sequence's beginning: `first` says where the wanted tokens begin."""
    tokens = np.arange(0, end - first)
    return np.array(table, int)[tokens // block_size] * block_size + tokens % block_size


def end_included(table, block_size, first, end):
    """There is one slot too many: `end` itself is not wanted."""
    tokens = np.minimum(np.arange(first, end + 1), len(table) * block_size - 1)
    return np.array(table, int)[tokens // block_size] * block_size + tokens % block_size


def place_counted_from_first(table, block_size, first, end):
    """The place was counted from the first token wanted: a token's place is its own position % block_size."""
    tokens = np.arange(first, end)
    return np.array(table, int)[tokens // block_size] * block_size + (tokens - first) % block_size
