"""Copy-on-write: a shared block is never written.

Where the engine does it: `PagedKVCache.reserve` in minillm/kv_cache/paged.py. A fork shares all blocks with its
original; whoever is the first to write into one takes a copy of it (Kwon et al., 2309.06180, section 4.4).
"""

# %% learner
import numpy as np


def copy_on_write(
    pool: np.ndarray, counts: np.ndarray, table: list[int], length: int, row: np.ndarray, free: list[int]
) -> None:
    """Write one token behind those that a sequence holds. Everything is changed in place.

    pool: [blocks, block_size, head_dim]: the keys of all sequences.
    counts: [blocks], int: in how many tables each block is.
    table: the blocks of this sequence, in order.
    length: how many tokens it holds; the new one is number `length`.
    row: [head_dim]: the key of the new token.
    free: blocks that nobody uses; take the first (free.pop(0)) if one is needed.

    A token that begins a new block takes a free one. One whose block is shared takes a free one too, copies the block
    into it, and leaves the old one to the others.
    """
    # %% solution
    number, place = divmod(length, pool.shape[1])
    if number == len(table):  # a new block
        table.append(free.pop(0))
        counts[table[number]] = 1
    elif counts[table[number]] > 1:  # a shared one
        old, table[number] = table[number], free.pop(0)
        pool[table[number]] = pool[old]
        counts[old] -= 1
        counts[table[number]] = 1
    pool[table[number], place] = row


# %% hints
HINTS = (
    "Three cases: the token begins a block; its block is shared; its block is this sequence's own. In the end the "
    "token is written in the same way in all three.",
    "number, place = divmod(length, block_size): which entry of the table, and where in that block; pool[block, place] "
    "is one row [head_dim].",
    "1. number and place; 2. if the table has no such entry: take a free block, count 1; 3. else if its count is above "
    "1: take a free block, copy, old count less 1, new count 1, into the table; 4. write the row.",
    "old, table[number] = table[number], free.pop(0)",
)


# %% harness
def call(function, pool, counts, table, length, row, free):
    """What everything is like after the call."""
    function(pool, counts, table, length, row, free)
    return {"table": table, "counts": counts, "pool": pool, "free": free}


# %% check
LESSON = 8
CONCEPTS = ("paged_attention", "kv_cache", "fork")
IN_PLACE = True


def cases(random):
    for block_size, table, length, shared in (
        (1, [], 0, ()), (2, [0], 1, ()), (2, [0], 1, (0,)), (2, [0], 2, ()), (2, [0], 2, (0,)), (2, [2, 0], 3, (0, 2)),
        (3, [1, 3], 4, (3,)), (3, [1, 3], 4, (1,)), (4, [3, 0], 7, (0, 3)),
    ):  # fmt: skip
        counts = np.array([(block in table) + 2 * (block in shared) for block in range(6)])
        yield {
            "pool": random.normal(size=(6, block_size, 2)), "counts": counts, "table": table, "length": length,
            "row": random.normal(size=2), "free": [block for block in (5, 1, 4) if not counts[block]],
        }  # fmt: skip


def others_see_no_change(inputs, result, run):
    """Blocks that other sequences hold are as they were."""
    shared = np.flatnonzero(inputs["counts"] > 1)
    return np.array_equal(result["pool"][shared], inputs["pool"][shared])


def counts_come_out_even(inputs, result, run):
    """The counts grow by 1 in all when a block was begun or copied out, and one is given back for a copy."""
    new = len(result["table"]) - len(inputs["table"])
    return result["counts"].sum() == inputs["counts"].sum() + new


PROPERTIES = (others_see_no_change, counts_come_out_even)
