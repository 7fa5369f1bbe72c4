"""The block table: where a token lies in a paged cache.

Where the engine does it: `slot_ranges` in minillm/kv_cache/paged.py. The memory is one long row of slots, cut
into blocks; a sequence's blocks need not lie together, and its table says which they are (Kwon et al., 2309.06180).
"""

# %% learner
import numpy as np


def block_table(table: list[int], block_size: int, first: int, end: int) -> np.ndarray:
    """The slots of some tokens of a sequence.

    table: the blocks of the sequence, in its order; block b is the slots from b * block_size on.
    block_size: tokens in a block.
    first, end: the tokens wanted: first, first + 1, ..., end - 1.
    returns: [end - first], int: the slot of each.
    """
    # %% solution
    tokens = np.arange(first, end)
    blocks = np.array(table, int)[tokens // block_size]
    return blocks * block_size + tokens % block_size


# %% hints
HINTS = (
    "It is what an operating system does with an address: the upper part says which page, the lower part where in it; "
    "only the upper part is looked up.",
    "tokens is [end - first]; tokens // block_size indexes the table, tokens % block_size is the place in the block.",
    "1. the tokens; 2. their blocks, from the table; 3. block * block_size + place.",
    "blocks = np.array(table, int)[tokens // block_size]",
)


# %% check
LESSON = 8
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
    """No two tokens lie in the same slot."""
    return len(np.unique(result)) == len(result)


def slots_are_in_the_sequences_blocks(inputs, result, run):
    """Every slot is in one of the sequence's own blocks."""
    return set((result // inputs["block_size"]).tolist()) <= set(inputs["table"])


PROPERTIES = (slots_are_in_the_sequences_blocks, no_two_share_a_slot)
