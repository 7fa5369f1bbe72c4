"""Copy-on-write: a shared block is never written.

Where the engine does it: `BlockTable.reserve` in minillm/kv_cache/block_table.py. A fork shares all its blocks with the
original. The first sequence that writes into a shared block takes a copy of it (Kwon et al., 2309.06180, section 4.4).
"""

# %% learner
import numpy as np


def copy_on_write(
    pool: np.ndarray, counts: np.ndarray, table: list[int], length: int, row: np.ndarray, free: list[int]
) -> None:
    """Append the key of one token to a sequence. Change pool, counts, table and free in place.

    pool: [blocks, block_size, head_dim]: the keys of all sequences.
    counts: [blocks], int: the reference count of each block: the number of tables that contain it.
    table: the blocks of this sequence, in order.
    length: the number of tokens of the sequence. So the new token has the position `length`.
    row: [head_dim]: the key of the new token.
    free: free blocks. Take the first one, free.pop(0), if a block is needed.

    If the token begins a new block, take a free block. If its block is shared, take a free block, copy the shared block
    into it, and put the copy into the table. The other sequences keep the shared block.
    """
    # %% solution
    index, slot = divmod(length, pool.shape[1])
    if index == len(table):  # the token begins a new block
        table.append(free.pop(0))
        counts[table[index]] = 1
    elif counts[table[index]] > 1:  # its block is shared
        old, table[index] = table[index], free.pop(0)
        pool[table[index]] = pool[old]
        counts[old] -= 1
        counts[table[index]] = 1
    pool[table[index], slot] = row


# %% hints
HINTS = (
    "There are three cases. The token begins a new block, or its block is shared, or its block belongs to this "
    "sequence alone. After the first steps, the row is written in the same way in all three cases.",
    "index, slot = divmod(length, block_size): the index into the table, and the slot in that block; pool[block, slot] "
    "is one row [head_dim].",
    "1. index and slot; 2. if the table has no such entry: take a free block, set its count to 1; 3. else if its count "
    "is above 1: take a free block, copy, decrement the old count, set the new count to 1, put the copy into the "
    "table; 4. write the row.",
    "old, table[index] = table[index], free.pop(0)",
)


# %% harness
def call(function, pool, counts, table, length, row, free):
    """Return all arguments as they are after the call."""
    function(pool, counts, table, length, row, free)
    return {"table": table, "counts": counts, "pool": pool, "free": free}


# %% check
LESSON = 9
CONCEPTS = ("paged_attention", "kv_cache", "fork")
IN_PLACE = True


def cases(random):
    for block_size, table, length, shared, others in (
        (1, [], 0, (), 0), (2, [0], 1, (), 0), (2, [0], 1, (0,), 1), (2, [0], 1, (0,), 2), (2, [0], 2, (), 0),
        (2, [0], 2, (0,), 1), (2, [2, 0], 3, (0, 2), 2), (3, [1, 3], 4, (3,), 1), (3, [1, 3], 4, (1,), 2),
        (4, [3, 0], 7, (0, 3), 2),
    ):  # fmt: skip
        counts = np.array([(block in table) + others * (block in shared) for block in range(6)])
        yield {
            "pool": random.normal(size=(6, block_size, 2)), "counts": counts, "table": table, "length": length,
            "row": random.normal(size=2), "free": [block for block in (5, 1, 4) if not counts[block]],
        }  # fmt: skip


def shared_blocks_do_not_change(inputs, result, run):
    """The blocks of other sequences must not change."""
    shared = np.flatnonzero(inputs["counts"] > 1)
    return np.array_equal(result["pool"][shared], inputs["pool"][shared])


def counts_add_up(inputs, result, run):
    """The sum of the counts must grow by 1 if the table has a new entry, and stay the same if not."""
    new = len(result["table"]) - len(inputs["table"])
    return result["counts"].sum() == inputs["counts"].sum() + new


PROPERTIES = (shared_blocks_do_not_change, counts_add_up)
