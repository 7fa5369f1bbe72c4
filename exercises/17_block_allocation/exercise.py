"""Block allocation with sharing: a shared prefix is computed once.

Where the engine does it: `BlockTable.adopt_prefix` in minillm/kv_cache/block_table.py, with minillm/kv_cache/prefix.py.
A new sequence begins with the blocks that already hold the keys and values of its prefix. Only the later tokens need
free blocks.
"""

# %% learner
Known = list[tuple[list[int], int]]


def block_allocation(tokens: list[int], block_size: int, known: Known, free: list[int]) -> tuple[list[int], int]:
    """Return the block table of a new sequence.

    tokens: the prompt, at least one token.
    block_size: slots per block.
    known: pairs (prefix, block). The block holds the last block_size tokens of the prefix. Their keys and values
        depend on all tokens of the prefix, so the whole prefix must be equal.
    free: free blocks. Take them from the front. There are enough.
    returns: (table, shared). table: the blocks in order, enough for all tokens. shared: how many blocks at the front of
        the table are shared. Only full blocks are shared. After the first block that is not known, no block is shared.
        At least one token must remain outside the shared blocks.
    """
    # %% solution
    table: list[int] = []
    for end in range(block_size, len(tokens), block_size):  # end < len(tokens): one token must run, for its logits
        block = next((block for prefix, block in known if prefix == tokens[:end]), None)
        if block is None:
            break
        table.append(block)
    shared, needed = len(table), -(-len(tokens) // block_size)
    return table + free[: needed - shared], shared


# %% hints
HINTS = (
    "Go through the prompt block by block. Share a block as long as the whole prefix up to its end is known. Stop at "
    "the first block that is not known: later blocks were computed with a different prefix.",
    "tokens[:end] for end = block_size, 2 block_size, ... is compared with the prefixes in known; the table has "
    "ceil(len(tokens) / block_size) blocks.",
    "1. for each end below len(tokens): find the block that is known for tokens[:end], or stop; 2. compute the number "
    "of blocks needed; 3. take the missing blocks from the front of free.",
    "for end in range(block_size, len(tokens), block_size):",
)


# %% check
LESSON = 9
CONCEPTS = ("paged_attention", "prefix_caching", "kv_cache")


def cases(random):
    free = [7, 8, 9, 5, 6]
    yield {"tokens": [1], "block_size": 1, "known": [], "free": free}
    yield {"tokens": [1, 2], "block_size": 1, "known": [([1], 3)], "free": free}
    yield {"tokens": [1], "block_size": 1, "known": [([1], 3)], "free": free}
    yield {"tokens": [1, 2, 3], "block_size": 2, "known": [], "free": free}
    yield {"tokens": [1, 2, 3], "block_size": 2, "known": [([1, 2], 3)], "free": free}
    yield {"tokens": [1, 2, 1, 2], "block_size": 2, "known": [([1, 2], 3), ([1, 2, 1, 2], 4)], "free": free}
    yield {"tokens": [5, 6, 1, 2, 9], "block_size": 2, "known": [([5, 6], 0), ([1, 2], 3)], "free": free}
    yield {"tokens": [1, 2, 3], "block_size": 1, "known": [([1], 4), ([1, 2], 3)], "free": free}
    yield {"tokens": [5, 6, 1, 2, 9], "block_size": 2, "known": [([5, 6, 1, 2], 3)], "free": free}
    yield {"tokens": [5, 6, 1, 2, 9], "block_size": 2, "known": [([8, 8, 1, 2], 4), ([5, 6], 1)], "free": free}
    yield {"tokens": [5, 6, 1], "block_size": 2, "known": [([5, 7], 4)], "free": free}
    for _ in range(6):
        tokens = random.integers(0, 2, random.integers(3, 9)).tolist()
        others = [random.integers(0, 2, 2 * n).tolist() for n in random.integers(1, 4, 4)]
        known = [(other, 10 + number) for number, other in enumerate(others) if other not in others[:number]]
        yield {"tokens": tokens, "block_size": 2, "known": known, "free": free}


def a_token_remains_to_run(inputs, result, run):
    """At least one token must remain outside the shared blocks, because the next token needs logits."""
    return result[1] * inputs["block_size"] < len(inputs["tokens"])


def shared_blocks_hold_this_prefix(inputs, result, run):
    """Every shared block must have been computed with the same prefix as this sequence has."""
    ends = [(number + 1) * inputs["block_size"] for number in range(result[1])]
    return all((inputs["tokens"][:end], block) in inputs["known"] for end, block in zip(ends, result[0], strict=False))


PROPERTIES = (a_token_remains_to_run, shared_blocks_hold_this_prefix)
