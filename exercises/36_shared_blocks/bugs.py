"""Wrong answers to `shared_blocks`."""


def _known(hashes, held):
    table = []
    for wanted in hashes:
        if wanted not in held:
            break
        table.append(held.index(wanted))
    return table


def _share(table, counts, free):
    for block in table:
        if counts[block] == 0:
            free.remove(block)
        counts[block] += 1


def _take(table, count, held, counts, free, where=0, count_it=True, clear=True):
    for _ in range(count):
        block = free.pop(where)
        if count_it:
            counts[block] = 1
        if clear:
            held[block] = 0
        table.append(block)
    return table


def nothing_shared(hashes, needed, held, counts, free):
    """All blocks are new, although some of the prompt is in the cache: share the blocks that hold its hashes."""
    return _take([], needed, held, counts, free)


def not_counted(hashes, needed, held, counts, free):
    """The shared blocks were not counted. They would be freed while this sequence still reads them. Add 1 to each."""
    table = _known(hashes, held)
    for block in table:
        if counts[block] == 0:
            free.remove(block)
    return _take(table, needed - len(table), held, counts, free)


def count_set_to_one(hashes, needed, held, counts, free):
    """The count of a shared block was set to 1: other tables contain it, too. Add 1."""
    table = _known(hashes, held)
    _share(table, counts, free)
    for block in table:
        counts[block] = 1
    return _take(table, needed - len(table), held, counts, free)


def left_in_the_free_list(hashes, needed, held, counts, free):
    """A shared block is still in the free list, so it will be given to another sequence. Remove it."""
    table = _known(hashes, held)
    for block in table:
        counts[block] += 1
    return _take(table, needed - len(table), held, counts, free)


def known_after_unknown(hashes, needed, held, counts, free):
    """A block after an unknown one was shared: the table has it in the wrong place. Stop at the first unknown hash."""
    table = [held.index(wanted) for wanted in hashes if wanted in held]
    _share(table, counts, free)
    return _take(table, needed - len(table), held, counts, free)


def last_one_computed_again(hashes, needed, held, counts, free):
    """The last known block was not shared: share one block for each known hash."""
    table = _known(hashes, held)[:-1]
    _share(table, counts, free)
    return _take(table, needed - len(table), held, counts, free)


def too_many_blocks(hashes, needed, held, counts, free):
    """`needed` new blocks were taken besides the shared ones: the shared ones are part of the number."""
    table = _known(hashes, held)
    _share(table, counts, free)
    return _take(table, min(needed, len(free)), held, counts, free)


def new_blocks_not_counted(hashes, needed, held, counts, free):
    """The count of a new block is 0, so it would be given to another sequence. Set it to 1."""
    table = _known(hashes, held)
    _share(table, counts, free)
    return _take(table, needed - len(table), held, counts, free, count_it=False)


def still_known(hashes, needed, held, counts, free):
    """A new block is still known by its old hash: another prompt would read the wrong keys. Set `held` to 0."""
    table = _known(hashes, held)
    _share(table, counts, free)
    return _take(table, needed - len(table), held, counts, free, clear=False)


def from_the_end_of_the_list(hashes, needed, held, counts, free):
    """The new blocks come from the end of the free list: take them from its beginning, with pop(0)."""
    table = _known(hashes, held)
    _share(table, counts, free)
    return _take(table, needed - len(table), held, counts, free, where=-1)
