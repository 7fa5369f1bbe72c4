"""BlockAllocator: who holds which block of a paged KV cache. It counts, and never sees a key or a value.

Memory for keys and values is cut into blocks of a fixed number of tokens, as an operating system cuts memory into
pages (Kwon et al., vLLM, 2309.06180, section 4). Every block is in one of three states:

- *held*: one cache or several have it in their tables; `reference_counts` says how many;
- *cached*: nobody holds it, but the prefix table knows which tokens it has, so it may be of use again; the least
  recently used is evicted when no block is free;
- *free*: nobody holds it, and nothing is known about it.

Attention reads a run of neighbouring blocks as one piece, so a sequence should grow into neighbours. Single blocks,
evicted one by one, would soon lie scattered. So a run begins in an *extent* of neighbouring blocks that nobody holds,
and room is made an extent at a time.
"""

from collections.abc import Sequence

import numpy as np

from minillm.arrays import Array, Bool
from minillm.kv_cache.prefix import PrefixBlock, PrefixTable
from minillm.support.checks import check_integer

MOST_NEIGHBOURS = 16  # blocks in an extent: one more piece in so many blocks costs attention little


class BlockAllocator:
    """CacheLayout 0 to num_blocks - 1.

    Attributes:
        num_blocks: how many there are.
        block_size: tokens in a block.
        reference_counts: of each block, how many tables hold it.
        prefixes: which blocks hold tokens that another sequence may begin with.
        evictions: how many cached blocks have been given up so far.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        """All blocks are free.

        Raises:
            ValueError: no block, or a block of no tokens.
        """
        self.num_blocks = check_integer("num_blocks", num_blocks, 1)
        self.block_size = check_integer("block_size", block_size, 1)
        self.reference_counts = [0] * self.num_blocks
        self.prefixes = PrefixTable()
        self.evictions = 0
        self._is_free = np.ones(self.num_blocks, bool)
        self._free_count = self.num_blocks
        self._cached: dict[int, None] = {}  # an ordered set, the least recently used first
        self._extent = max(1, min(MOST_NEIGHBOURS, self.num_blocks // 32))  # small pools: single blocks
        extents = -(-self.num_blocks // self._extent)
        self._used_in, self._held_in = np.zeros(extents, int), np.zeros(extents, int)  # blocks not free, blocks held
        self._last_use, self._clock = np.zeros(extents, int), 0

    @property
    def available(self) -> int:
        """How many blocks can be allocated: the free ones and the cached ones."""
        return self._free_count + len(self._cached)

    @property
    def used(self) -> int:
        """How many blocks are in somebody's table."""
        return self.num_blocks - self.available

    def blocks_for(self, tokens: int) -> int:
        """How many blocks so many tokens take."""
        return -(-tokens // self.block_size)

    def allocate(self, count: int, after: int | None = None) -> list[int]:
        """Take so many blocks, all or none.

        A free neighbour is preferred; if there is none, a new run begins.

        Args:
            count: how many.
            after: the block that they will follow in the table.

        Raises:
            ValueError: fewer are available; none has been taken.
        """
        if count > self.available:
            raise ValueError(f"{count} blocks were asked for, but {self.available} of {self.num_blocks} are available")
        taken: list[int] = []
        for left in range(count, 0, -1):
            after = self._take_free(after, left)
            taken.append(after)
        return taken

    def share(self, block: int) -> None:
        """One more table holds this block, which is held or cached."""
        if not self.reference_counts[block]:
            assert block in self._cached, f"block {block} is free"
            del self._cached[block]
            self._held_in[block // self._extent] += 1
        self.reference_counts[block] += 1

    def free(self, blocks: Sequence[int]) -> None:
        """One table fewer holds each of these blocks; a block that nobody holds is cached or free.

        The last are released first: without its parent a block cannot be found, so it should be evicted before it.
        """
        for block in reversed(blocks):
            assert self.reference_counts[block], f"block {block} is freed twice"
            self.reference_counts[block] -= 1
            if not self.reference_counts[block]:
                self._held_in[block // self._extent] -= 1
                self._release(block)

    def find_prefix(self, tokens: Sequence[int]) -> list[PrefixBlock]:
        """The longest known prefix of these tokens that leaves at least one of them to run, for its logits."""
        return self.prefixes.find(tokens[:-1], self.block_size)

    def unpublish(self, block: int) -> None:
        """The contents of a block that somebody holds are about to change, so no prefix is known to lie there."""
        assert self.reference_counts[block], f"nobody holds block {block}"
        self.prefixes.remove(block)

    def _release(self, block: int) -> None:
        extent = block // self._extent
        if block in self.prefixes:
            self._cached[block] = None
            self._clock += 1
            self._last_use[extent] = self._clock
        else:
            self._is_free[block] = True
            self._free_count += 1
            self._used_in[extent] -= 1

    def _evict(self, block: int) -> None:
        del self._cached[block]
        self.prefixes.remove(block)
        self.evictions += 1
        self._release(block)

    def _take_free(self, after: int | None, left: int) -> int:
        neighbour = self.num_blocks if after is None else after + 1
        block = neighbour if neighbour < self.num_blocks and self._is_free[neighbour] else self._begin_run(left)
        self._is_free[block] = False
        self._free_count -= 1
        self._used_in[block // self._extent] += 1
        self._held_in[block // self._extent] += 1
        self.reference_counts[block] = 1
        return block

    def _begin_run(self, blocks: int) -> int:
        """The first block of a free extent; of the least recently used one otherwise, then of any that is left."""
        free = self._used_in == 0
        if free.any():
            return _most_room(free, -(-blocks // self._extent)) * self._extent
        unheld = np.flatnonzero(self._held_in == 0)
        if len(unheld):
            first = int(unheld[self._last_use[unheld].argmin()]) * self._extent
            for block in range(first, min(first + self._extent, self.num_blocks)):
                if block in self._cached:
                    self._evict(block)
            return first
        if not self._free_count:
            self._evict(next(iter(self._cached)))
        return int(self._is_free.argmax())


def _most_room(free: Bool[Array, "extents"], wanted: int) -> int:
    """Where to begin among the free extents: in the middle of the longest run, so that both neighbours can grow.

    At its beginning, if nobody lies before it, or if so many do not fit into its second half.
    """
    edges = np.flatnonzero(np.diff(free, prepend=False, append=False))  # where runs begin and end
    begins, ends = edges[::2], edges[1::2]
    longest = int((ends - begins).argmax())
    begin, end = int(begins[longest]), int(ends[longest])
    middle = (begin + end) // 2
    return begin if begin == 0 or end - middle < wanted else middle
