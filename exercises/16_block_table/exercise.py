"""The block table: where the keys and values of a token are stored in a paged cache.

Where the engine does it: `slot_ranges` in minillm/kv_cache/block_table.py. The memory is one long array of slots,
divided into blocks. The blocks of a sequence need not be contiguous. Its block table lists them (Kwon et al.,
2309.06180).
"""

# %% learner
import numpy as np


def block_table(table: list[int], block_size: int, first: int, end: int) -> np.ndarray:
    """Return the slots of some tokens of a sequence.

    table: the blocks of the sequence, in order. Block b has the slots b * block_size, ..., (b + 1) * block_size - 1.
    block_size: slots per block.
    first, end: the positions of the tokens: first, first + 1, ..., end - 1.
    returns: [end - first], int: the slot of each token.
    """
    # %% solution
    positions = np.arange(first, end)
    blocks = np.array(table, int)[positions // block_size]
    return blocks * block_size + positions % block_size


# %% hints
HINTS = (
    "An operating system does the same with an address. The upper part is the number of a page. The lower part is the "
    "offset in the page. Only the upper part is looked up in a table.",
    "positions is [end - first]; positions // block_size indexes the table; positions % block_size is the offset in "
    "the block.",
    "1. compute the positions; 2. look up their blocks in the table; 3. block * block_size + offset.",
    "blocks = np.array(table, int)[positions // block_size]",
)


# %% check
LESSON = 9
CONCEPTS = ("paged_attention", "kv_cache")


def cases(random):
    yield {"table": [0], "block_size": 1, "first": 0, "end": 1}
    yield {"table": [2], "block_size": 2, "first": 0, "end": 2}
    yield {"table": [1, 0], "block_size": 2, "first": 0, "end": 3}
    yield {"table": [3, 0], "block_size": 2, "first": 1, "end": 4}
    yield {"table": [3, 0, 2], "block_size": 3, "first": 3, "end": 9}
    for blocks, block_size in ((4, 2), (5, 4), (6, 16)):
        table = random.permutation(10)[:blocks].tolist()
        first, end = sorted(random.choice(blocks * block_size + 1, 2, replace=False).tolist())
        yield {"table": table, "block_size": block_size, "first": first, "end": end}


def no_two_share_a_slot(inputs, result, run):
    """Two tokens must not have the same slot."""
    return len(np.unique(result)) == len(result)


def slots_are_in_the_sequences_blocks(inputs, result, run):
    """Every slot must be in one of the blocks of the table."""
    return set((result // inputs["block_size"]).tolist()) <= set(inputs["table"])


PROPERTIES = (slots_are_in_the_sequences_blocks, no_two_share_a_slot)


def engine(table, block_size, first, end):
    from minillm.kv_cache.block_table import slot_ranges

    ranges = slot_ranges(table, block_size, first, end)
    return np.array([slot for slots in ranges for slot in range(slots.start, slots.stop)], int)


def plug(function):
    """Several answers have paged caches: `minillm generate --n 2 --temperature 1 --with DIR`."""

    def slot_ranges(table, block_size, first, end):
        slots = function(list(table), block_size, first, end)
        runs = np.split(slots, np.flatnonzero(np.diff(slots) != 1) + 1)
        return [slice(int(run[0]), int(run[-1]) + 1) for run in runs if len(run)]

    return {"minillm.kv_cache.block_table.slot_ranges": slot_ranges}
