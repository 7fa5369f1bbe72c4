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


def block_without_its_prefix(tokens, block_size, known, free):
    """A block was found by its own tokens alone. Its keys depend on all earlier tokens: compare the whole prefix."""

    def find(end):
        own = tokens[end - block_size : end]
        return next((block for prefix, block in known if prefix[-block_size:] == own), None)

    return _table(tokens, block_size, free, find, range(block_size, len(tokens), block_size))


def no_token_remains_to_run(tokens, block_size, known, free):
    """All tokens are in shared blocks. Then no token runs, and there are no logits for the next token. Leave one."""

    def find(end):
        return next((block for prefix, block in known if prefix == tokens[:end]), None)

    return _table(tokens, block_size, free, find, range(block_size, len(tokens) + 1, block_size))


def nothing_shared(tokens, block_size, known, free):
    """No block was shared. Known blocks need not be computed again."""
    return free[: -(-len(tokens) // block_size)], 0


def shared_after_a_gap(tokens, block_size, known, free):
    """A block was shared after a block that is not known. Stop at the first block that is not known."""
    found = [
        next((block for prefix, block in known if prefix == tokens[:end]), None)
        for end in range(block_size, len(tokens), block_size)
    ]
    table = [block for block in found if block is not None]
    return table + free[: -(-len(tokens) // block_size) - len(table)], len(table)


def only_the_first_block(tokens, block_size, known, free):
    """Only the first block was shared. Share every full block of the known prefix, one after the other."""
    shared = [block for prefix, block in known if prefix == tokens[:block_size] and len(tokens) > block_size][:1]
    return shared + free[: -(-len(tokens) // block_size) - len(shared)], len(shared)


def partly_filled_block_missing(tokens, block_size, known, free):
    """The last tokens have no block. A partly filled block is needed, too: round up."""

    def find(end):
        return next((block for prefix, block in known if prefix == tokens[:end]), None)

    table, shared = _table(tokens, block_size, free, find, range(block_size, len(tokens), block_size))
    return table[: max(shared, len(tokens) // block_size)], shared


def all_new_blocks_too(tokens, block_size, known, free):
    """Too many free blocks were taken: subtract the number of shared blocks."""

    def find(end):
        return next((block for prefix, block in known if prefix == tokens[:end]), None)

    table, shared = _table(tokens, block_size, free, find, range(block_size, len(tokens), block_size))
    return table[:shared] + free[: -(-len(tokens) // block_size)], shared
