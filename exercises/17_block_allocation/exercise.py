"""Block allocation with sharing: equal beginnings are computed once.

Where the engine does it: `PagedKVCache.adopt_prefix` in minillm/kv_cache/paged.py, over minillm/kv_cache/prefix.py. A
new sequence begins with the blocks in which another one has computed the same tokens; only the rest takes free blocks.
"""

# %% learner
Known = list[tuple[list[int], int]]


def block_allocation(tokens: list[int], block_size: int, known: Known, free: list[int]) -> tuple[list[int], int]:
    """The block table of a new sequence.

    tokens: the prompt, at least one token.
    block_size: tokens in a block.
    known: pairs (beginning, block): the block holds the last block_size tokens of this beginning, computed behind all
        the others of it. Keys and values depend on everything before, so all of the beginning must agree.
    free: blocks that nobody uses, to be taken from the front. There are enough.
    returns: (table, shared): the blocks in order, enough for all tokens, and how many of the first ones are shared.
        Only full blocks are shared, none behind one that is not, and at least one token must be left to run.
    """
    # %% solution
    table: list[int] = []
    for end in range(block_size, len(tokens), block_size):  # never all tokens: one has to run, for its logits
        block = next((block for beginning, block in known if beginning == tokens[:end]), None)
        if block is None:
            break
        table.append(block)
    shared, needed = len(table), -(-len(tokens) // block_size)
    return table + free[: needed - shared], shared


# %% hints
HINTS = (
    "Walk along the prompt block by block. As long as the whole beginning up to the block's end is known, share; at "
    "the first that is not, stop: what comes after it was computed behind other tokens.",
    "tokens[:end] for end = block_size, 2 block_size, ... is compared with the beginnings in known; the table has "
    "ceil(len(tokens) / block_size) blocks.",
    "1. for each end below len(tokens): find the block known for tokens[:end], or stop; 2. how many blocks are needed; "
    "3. take the rest from the front of free.",
    "for end in range(block_size, len(tokens), block_size):",
)


# %% check
LESSON = 8
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


def something_is_left_to_run(inputs, result, run):
    """At least one token is in no shared block, so that there are logits."""
    return result[1] * inputs["block_size"] < len(inputs["tokens"])


def shared_blocks_hold_these_tokens(inputs, result, run):
    """Every shared block was computed behind just the tokens that this sequence begins with."""
    ends = [(number + 1) * inputs["block_size"] for number in range(result[1])]
    return all((inputs["tokens"][:end], block) in inputs["known"] for end, block in zip(ends, result[0], strict=False))


PROPERTIES = (something_is_left_to_run, shared_blocks_hold_these_tokens)
