"""Wrong answers to `copy_on_write`."""


def _write(pool, counts, table, length, row, free, copy=True, release=True, count=True, always=False, only_row=False):
    index, slot = divmod(length, pool.shape[1])
    if index == len(table):
        table.append(free.pop(0))
        counts[table[index]] = 1
    elif counts[table[index]] > 1 or always:
        old, table[index] = table[index], free.pop(0)
        if copy:
            pool[table[index]] = pool[old]
        if release:
            counts[old] -= 1
        if count:
            counts[table[index]] = 1
    pool[table[index], slot] = row


def written_into_the_shared_block(pool, counts, table, length, row, free):
    """The shared block was written. Now the other sequences read the key of this token. Copy the block first."""
    index, slot = divmod(length, pool.shape[1])
    if index == len(table):
        table.append(free.pop(0))
        counts[table[index]] = 1
    pool[table[index], slot] = row


def contents_not_copied(pool, counts, table, length, row, free):
    """The new block lacks the earlier tokens. Copy the old block into it."""
    _write(pool, counts, table, length, row, free, copy=False)


def old_block_not_released(pool, counts, table, length, row, free):
    """The count of the old block still includes this sequence, so the block would never be freed. Decrement it."""
    _write(pool, counts, table, length, row, free, release=False)


def new_block_not_counted(pool, counts, table, length, row, free):
    """The count of the copy is 0, so the block would be given to another sequence. Set it to 1."""
    _write(pool, counts, table, length, row, free, count=False)


def always_copied(pool, counts, table, length, row, free):
    """A block that is not shared was copied. This sequence may write into it directly."""
    _write(pool, counts, table, length, row, free, always=True)


def table_not_changed(pool, counts, table, length, row, free):
    """The copy was written, but the table still has the old block. So the copy is never read. Update the table."""
    index, slot = divmod(length, pool.shape[1])
    block = table[index] if index < len(table) else free.pop(0)
    if index == len(table):
        table.append(block)
        counts[block] = 1
    elif counts[block] > 1:
        old, block = block, free.pop(0)
        pool[block] = pool[old]
        counts[old] -= 1
        counts[block] = 1
    pool[block, slot] = row


def last_token_overwritten(pool, counts, table, length, row, free):
    """The last token was overwritten. The new token has the position `length`, after the existing ones."""
    _write(pool, counts, table, max(0, length - 1), row, free)


def two_holders_not_shared(pool, counts, table, length, row, free):
    """A block in two tables counts as shared: copy it if its count is above 1."""
    index = length // pool.shape[1]
    if index < len(table) and counts[table[index]] == 2:
        pool[table[index], length % pool.shape[1]] = row
    else:
        _write(pool, counts, table, length, row, free)
