"""BlockTable: which blocks of a pool hold the tokens of one sequence. It never sees an array.

Token t of a sequence is in block `table[t // block_size]`, at slot `t % block_size` of that block:

    block_size 3
    pool     block 0         block 1           block 2        block 3
             Spain is ___    The capital of    ___ ___ ___    France is ___
    A.table  [1, 3]          The capital of France is
    B.table  [1, 0]          The capital of Spain is          block 1 has two references

Blocks can be shared. A fork shares all of them, and a new sequence begins with the blocks that another one computed
for the same tokens. A shared block is never written: a sequence that has to write takes a copy first (copy-on-write).
Source: Kwon et al., vLLM, 2309.06180, section 4.

`PagedKVCache` is a block table with the keys and values behind it. The `VirtualEngine` schedules with bare tables.
"""

from collections.abc import Sequence
from typing import Self

from minillm.events import BlockCopied, BlockPublished, BlocksReleased, BlocksShared, BlocksTaken, tell
from minillm.kv_cache.neighbours import NeighbourAllocator
from minillm.kv_cache.prefix import PrefixBlock
from minillm.support.checks import check_integer
from minillm.support.wording import counted


class BlockTable:
    """The blocks of one sequence. Call `free` when done: the blocks are the pool's.

    Attributes:
        pool: the blocks that can be taken.
        length: tokens of the sequence that are in the blocks.
        table: its blocks, in the order of the sequence; the last ones may be reserved for tokens to come.
        prefix: for each of its first full blocks, its entry in the prefix table: found by `adopt_prefix` or added by
            `publish`. An entry may name another block with the same tokens, which was published before.

    Example:
        >>> blocks = BlockTable(NeighbourAllocator(num_blocks=4, block_size=16))
        >>> blocks.reserve(20)
        >>> blocks.table, blocks.capacity, blocks.pool.available
        ([0, 1], 32, 2)
        >>> blocks.free()
        >>> blocks.table, blocks.pool.available
        ([], 4)
    """

    def __init__(self, pool: NeighbourAllocator) -> None:
        """Begin empty, without a block."""
        self.pool = pool
        self.length = 0
        self.table: list[int] = []
        self.prefix: list[PrefixBlock] = []

    def __repr__(self) -> str:
        return f"{type(self).__name__}(length={self.length}, table={self.table}, block_size={self.pool.block_size})"

    @property
    def capacity(self) -> int:
        """Number of tokens that fit into the blocks of the table."""
        return len(self.table) * self.pool.block_size

    def blocks_needed(self, new_tokens: int) -> int:
        """Return the number of blocks to take for `new_tokens` more tokens: new ones, and a copy of a shared one."""
        new = self.pool.blocks_for(self.length + new_tokens) - len(self.table)
        return max(0, new) + (new_tokens > 0 and self._next_is_shared())

    def check_room(self, new_tokens: int) -> None:
        """Raise ValueError, before anything is written, if the pool lacks blocks for `new_tokens` more tokens."""
        need, pool = self.blocks_needed(new_tokens), self.pool
        if need > pool.available:
            needs = f"{counted(new_tokens, 'more token')} need{'s' * (new_tokens == 1)} {counted(need, 'more block')}"
            raise ValueError(
                f"{needs} of {pool.block_size}, but {pool.available} of the pool's {pool.num_blocks} are available; "
                "free another cache, or pass a larger num_blocks"
            )

    def reserve(self, new_tokens: int) -> None:
        """Take the blocks for `new_tokens` more tokens, and make the first of them writable, all or nothing.

        Raises:
            ValueError: the pool has too few.
        """
        self.check_room(new_tokens)
        if new_tokens:
            self._make_writable()
        missing = self.pool.blocks_for(self.length + new_tokens) - len(self.table)
        if missing > 0:
            new = self.pool.allocate(missing, self.table[-1] if self.table else None)
            self.table += new
            tell(BlocksTaken(self, tuple(new)))

    def truncate(self, length: int) -> None:
        """Drop every token from index `length` on, and give back the blocks without a token.

        Raises:
            ValueError: length is negative or more than there are.
        """
        self.length = check_integer("length", length, 0, self.length)
        kept = self.pool.blocks_for(self.length)
        dropped, self.table = self.table[kept:], self.table[:kept]
        del self.prefix[self.length // self.pool.block_size :]
        self.pool.free(dropped)
        if dropped:
            tell(BlocksReleased(self, tuple(dropped)))

    def free(self) -> None:
        """Give all blocks back. The table is then empty and can be used again."""
        self.truncate(0)

    def fork(self) -> Self:
        """Return a table with the same tokens in the same blocks. Neither of the two writes a shared block."""
        copy = type(self)(self.pool)
        copy.length = self.length
        copy.prefix = list(self.prefix)
        copy.table = self.table[: self.pool.blocks_for(self.length)]
        for block in copy.table:
            self.pool.share(block)
        tell(BlocksShared(copy, tuple(copy.table), source=self))
        return copy

    def adopt_prefix(self, tokens: Sequence[int]) -> int:
        """Fill an empty table with the blocks that already hold a prefix of `tokens`.

        Returns:
            the number of tokens in it now: a multiple of the block size, less than `len(tokens)`.
        """
        assert not self.table, "only an empty table can adopt a prefix"
        self.prefix = self.pool.find_prefix(tokens)
        self.table = [known.block for known in self.prefix]
        for block in self.table:
            self.pool.share(block)
        self.length = len(self.table) * self.pool.block_size
        if self.table:
            tell(BlocksShared(self, tuple(self.table), source=None))
        return self.length

    def publish(self, tokens: Sequence[int]) -> None:
        """Let other sequences begin with the full blocks of this table. `tokens` are its tokens, or more."""
        size = self.pool.block_size
        for number in range(len(self.prefix), self.length // size):
            parent = self.prefix[-1] if self.prefix else None
            block_tokens = tokens[number * size : (number + 1) * size]
            self.prefix.append(self.pool.prefixes.add(parent, block_tokens, self.table[number]))
            if self.prefix[-1].block == self.table[number]:
                tell(BlockPublished(self, self.table[number]))

    def _next_is_shared(self) -> bool:
        """Return whether the block of the next token is in another table too."""
        number = self.length // self.pool.block_size
        return number < len(self.table) and self.pool.reference_counts[self.table[number]] > 1

    def _make_writable(self) -> None:
        """Copy the block of the next token if it is shared (copy-on-write).

        Later blocks are never shared, because `fork` shares only blocks with tokens.
        """
        number = self.length // self.pool.block_size
        if self._next_is_shared():
            block = self.table[number]
            [new] = self.pool.allocate(1, self.table[number - 1] if number else None)
            try:
                self._copy_block(block, new)
            except BaseException:  # Ctrl-C, for example: the block is still shared
                self.pool.free([new])
                raise
            self.table[number] = new
            self.pool.free([block])
            tell(BlockCopied(self, block, new))
        elif number < len(self.table) and self.table[number] in self.pool.prefixes:  # truncated into a published block
            self.pool.unpublish(self.table[number])

    def _copy_block(self, source: int, target: int) -> None:
        """Copy the contents of a block before `target` takes the place of `source`. A bare table has no contents."""


def slot_ranges(table: Sequence[int], block_size: int, first: int, end: int) -> list[slice]:
    """Return the slots of tokens `first` to `end` of a sequence with this table; neighbouring blocks are one slice.

    Example:
        >>> slot_ranges([1, 2, 7], block_size=4, first=2, end=10)
        [slice(6, 12, None), slice(28, 30, None)]
    """
    ranges: list[slice] = []
    while first < end:
        number, offset = divmod(first, block_size)
        start = table[number] * block_size + offset
        count = min(block_size - offset, end - first)
        if ranges and ranges[-1].stop == start:
            start = ranges.pop().start
        ranges.append(slice(start, table[number] * block_size + offset + count))
        first += count
    return ranges
