"""A block table that begins with shared blocks: a new prompt uses what is in the cache already.

Where the engine does it: `BlockTable.adopt_prefix` and `reserve` in minillm/kv_cache/block_table.py, with the counts of
`BlockAllocator` in minillm/kv_cache/blocks.py. A block without references stays in the free list, with its keys and
values, until it is taken for other tokens (Kwon et al., 2309.06180, section 4). Article: Optimization Strategies, 4.
"""


# %% learner
def shared_blocks(hashes: list[int], needed: int, held: list[int], counts: list[int], free: list[int]) -> list[int]:
    """Return the block table of a new sequence. Change held, counts and free in place.

    hashes: the hash of each full block of its prompt (see exercise 35). None is 0.
    needed: the number of blocks that the sequence needs; at least len(hashes). Enough blocks are free.
    held: for each block of the pool, the hash of what it holds; 0 if that is unknown. No other hash occurs twice.
    counts: for each block, the number of tables that contain it.
    free: the blocks with count 0, in the order in which they are taken. Some still hold a known hash.
    returns: the blocks of the sequence, in order.

    Share the longest known prefix: one block for each hash, up to the first hash that no block holds. Each shared block
    counts one table more, and leaves the free list if it was in it. Then take blocks from the beginning of the free
    list. A block that is taken has the count 1, and what it holds is unknown from now on.
    """
    # %% solution
    table: list[int] = []
    for wanted in hashes:
        if wanted not in held:
            break
        table.append(held.index(wanted))
    for block in table:
        if counts[block] == 0:
            free.remove(block)
        counts[block] += 1
    while len(table) < needed:
        block = free.pop(0)
        counts[block], held[block] = 1, 0
        table.append(block)
    return table


# %% hints
HINTS = (
    "There are two parts. First share what is known, up to the first block that is not. Then take new blocks for what "
    "is missing. Share first: else a block that you need could be taken for other tokens.",
    "The table has `needed` entries: some shared ones, then new ones. held and counts have one entry for each block of "
    "the pool.",
    "1. For each hash: find its block in `held`, or stop. 2. For each shared block: remove it from `free` if its count "
    "is 0, then add 1 to its count. 3. While the table is too short: free.pop(0), count 1, held 0, append.",
    "table.append(held.index(wanted))",
)


# %% harness
def call(function, hashes, needed, held, counts, free):
    """Return the table, and the other lists as they are after the call."""
    table = function(hashes, needed, held, counts, free)
    return {"table": table, "counts": counts, "free": free, "held": held}


# %% check
LESSON = 16
CONCEPTS = ("paged_attention", "prefix_caching", "kv_cache")
IN_PLACE = True


def cases(random):
    for hashes, needed, held, counts, free in (
        ([], 1, [0], [0], [0]), ([7], 1, [7], [1], []), ([7], 1, [0, 7], [0, 1], [0]), ([7], 1, [7], [0], [0]),
        ([7], 1, [9], [0], [0]), ([7], 2, [0, 7], [0, 1], [0]), ([7, 8], 2, [7, 0, 8], [2, 0, 1], [1]),
        ([7, 8], 2, [8, 7, 0], [1, 0, 0], [2, 1]), ([6, 8], 2, [8, 0, 0], [1, 0, 0], [1, 2]),
        ([7, 6, 8], 3, [8, 7, 0, 9], [1, 1, 0, 0], [2, 3]),
        ([7, 8, 9], 5, [0, 8, 7, 0, 3, 9], [0, 2, 3, 0, 0, 0], [3, 0, 4, 5]),
        ([7, 8], 4, [8, 5, 7, 6, 4], [0, 0, 1, 0, 2], [3, 0, 1]),
    ):  # fmt: skip
        yield {"hashes": hashes, "needed": needed, "held": held, "counts": counts, "free": free}
    for blocks in (6, 9):
        held = [int(number) for number in random.permutation(blocks) + 1]
        counts = [int(number) for number in random.integers(0, 3, blocks)]
        free = [int(block) for block in random.permutation(blocks) if counts[block] == 0]
        known = int(random.integers(1, 4))
        hashes = [held[int(block)] for block in random.permutation(blocks)[:known]]
        most = sum(counts[held.index(one)] > 0 for one in hashes) + len(free)
        if most >= known:
            yield {"hashes": hashes, "needed": most, "held": held, "counts": counts, "free": free}


def one_reference_more_for_each_entry(inputs, result, run):
    """The sum of the counts must grow by the number of blocks in the table."""
    return sum(result["counts"]) == sum(inputs["counts"]) + len(result["table"])


def free_blocks_have_no_references(inputs, result, run):
    """No block of the free list may be in a table."""
    return all(result["counts"][block] == 0 for block in result["free"])


def no_block_twice(inputs, result, run):
    """A table must not contain a block twice."""
    return len(set(result["table"])) == len(result["table"])


PROPERTIES = (no_block_twice, free_blocks_have_no_references, one_reference_more_for_each_entry)
