"""Wrong answers to `copy_on_write`."""


def _write(pool, counts, table, length, row, free, copy=True, release=True, count=True, always=False, only_row=False):
    number, place = divmod(length, pool.shape[1])
    if number == len(table):
        table.append(free.pop(0))
        counts[table[number]] = 1
    elif counts[table[number]] > 1 or always:
        old, table[number] = table[number], free.pop(0)
        if copy:
            pool[table[number]] = pool[old]
        if release:
            counts[old] -= 1
        if count:
            counts[table[number]] = 1
    pool[table[number], place] = row


def written_into_the_shared_block(pool, counts, table, length, row, free):
    """The shared block itself was written: other sequences now read this one's token. Copy it first."""
    number, place = divmod(length, pool.shape[1])
    if number == len(table):
        table.append(free.pop(0))
        counts[table[number]] = 1
    pool[table[number], place] = row


def contents_not_copied(pool, counts, table, length, row, free):
    """The new block lacks the tokens before: copy the old block into it."""
    _write(pool, counts, table, length, row, free, copy=False)


def old_block_not_given_up(pool, counts, table, length, row, free):
    """The old block still counts this sequence: it would never be free again. Its count goes down by 1."""
    _write(pool, counts, table, length, row, free, release=False)


def new_block_not_counted(pool, counts, table, length, row, free):
    """The copy counts nobody: it would be given to somebody else. Its count is 1."""
    _write(pool, counts, table, length, row, free, count=False)


def always_copied(pool, counts, table, length, row, free):
    """A block that nobody shares was copied: this sequence may write it as it is."""
    _write(pool, counts, table, length, row, free, always=True)


def table_not_changed(pool, counts, table, length, row, free):
    """The copy was written, but the table still names the old block, so nobody will read it."""
    number, place = divmod(length, pool.shape[1])
    block = table[number] if number < len(table) else free.pop(0)
    if number == len(table):
        table.append(block)
        counts[block] = 1
    elif counts[block] > 1:
        old, block = block, free.pop(0)
        pool[block] = pool[old]
        counts[old] -= 1
        counts[block] = 1
    pool[block, place] = row


def place_of_the_last_token(pool, counts, table, length, row, free):
    """The last token was written over: the new one is number `length`, behind those held."""
    _write(pool, counts, table, max(0, length - 1), row, free)
