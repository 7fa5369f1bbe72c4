"""Wrong answers to `block_allocation`."""


def _table(tokens, block_size, free, find, ends):
    table = []
    for end in ends:
        block = find(end)
        if block is None:
            break
        table.append(block)
    shared = len(table)
    return table + free[: -(-len(tokens) // block_size) - shared], shared


def block_without_its_parent(tokens, block_size, known, free):
    """A block was found by its own tokens alone: computed behind others it holds other keys. Compare all before too."""

    def find(end):
        own = tokens[end - block_size : end]
        return next((block for beginning, block in known if beginning[-block_size:] == own), None)

    return _table(tokens, block_size, free, find, range(block_size, len(tokens), block_size))


def nothing_left_to_run(tokens, block_size, known, free):
    """All tokens are in shared blocks: nothing runs, and there are no logits for the next token. Leave one."""

    def find(end):
        return next((block for beginning, block in known if beginning == tokens[:end]), None)

    return _table(tokens, block_size, free, find, range(block_size, len(tokens) + 1, block_size))


def nothing_shared(tokens, block_size, known, free):
    """Nothing was shared: what is known need not be computed again."""
    return free[: -(-len(tokens) // block_size)], 0


def goes_on_behind_a_gap(tokens, block_size, known, free):
    """A block was shared behind one that was not known: the first that is missing ends the shared part."""
    found = [
        next((block for beginning, block in known if beginning == tokens[:end]), None)
        for end in range(block_size, len(tokens), block_size)
    ]
    table = [block for block in found if block is not None]
    return table + free[: -(-len(tokens) // block_size) - len(table)], len(table)


def longest_known_only(tokens, block_size, known, free):
    """Only one block was shared: every full block of the known beginning is in its table, one after the other."""
    shared = [block for beginning, block in known if beginning == tokens[:block_size] and len(tokens) > block_size][:1]
    return shared + free[: -(-len(tokens) // block_size) - len(shared)], len(shared)


def partly_filled_block_missing(tokens, block_size, known, free):
    """The last tokens have no block: one that is only partly filled is needed as well. Round up."""

    def find(end):
        return next((block for beginning, block in known if beginning == tokens[:end]), None)

    table, shared = _table(tokens, block_size, free, find, range(block_size, len(tokens), block_size))
    return table[: max(shared, len(tokens) // block_size)], shared


def all_new_blocks_too(tokens, block_size, known, free):
    """As many free blocks were taken as if nothing were shared."""

    def find(end):
        return next((block for beginning, block in known if beginning == tokens[:end]), None)

    table, shared = _table(tokens, block_size, free, find, range(block_size, len(tokens), block_size))
    return table[:shared] + free[: -(-len(tokens) // block_size)], shared
