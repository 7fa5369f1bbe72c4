"""BlockAllocator: which blocks of a paged KV cache are in use, and by how many sequences. It never sees an array.

The memory for keys and values is cut into blocks of `block_size` tokens, as an operating system cuts memory into
pages (Kwon et al., vLLM, 2309.06180, section 4). Every block is in one of three states:

    used     in the block table of one or more sequences; `reference_counts[block]` says how many
    cached   in no table, but the prefix table knows its tokens, so a later sequence may begin with it
    free     in no table, and its contents are unknown

Blocks in no table wait in one queue: free ones at the front, then cached ones, the least recently used first.
`allocate` takes from the front. A cached block that is taken is *evicted*: the prefix table drops it.

    used [2, 5, 6]   free [3, 0]   cached [7, 1, 4]   <- 4 was released last
    allocate(3)  ->  [3, 0, 7]: two free blocks, then the cached block that waited longest is evicted
"""

from collections import OrderedDict
from collections.abc import Sequence

from minillm.events import BlockEvicted, BlockUnpublished, tell
from minillm.kv_cache.prefix import PrefixBlock, PrefixTable
from minillm.support.checks import check_integer
from minillm.support.wording import counted


class BlockAllocator:
    """Hands out the blocks 0 to num_blocks - 1.

    Attributes:
        num_blocks: number of blocks.
        block_size: tokens in a block.
        reference_counts: for each block, the number of block tables that it is in.
        prefixes: which blocks hold tokens that another sequence may begin with.
        evictions: number of cached blocks that were taken for other tokens so far.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        """Begin with all blocks free.

        Raises:
            ValueError: a number is not an integer of at least 1.
        """
        self.num_blocks = check_integer("num_blocks", num_blocks, 1)
        self.block_size = check_integer("block_size", block_size, 1)
        self.reference_counts = [0] * self.num_blocks
        self.prefixes = PrefixTable()
        self.evictions = 0
        self._unused = OrderedDict[int, None].fromkeys(range(self.num_blocks))  # free, then cached by last use

    @property
    def available(self) -> int:
        """Number of blocks that can be allocated: free and cached ones."""
        return len(self._unused)

    @property
    def used(self) -> int:
        """Number of blocks that are in at least one table."""
        return self.num_blocks - self.available

    def blocks_for(self, tokens: int) -> int:
        """Return the number of blocks that `tokens` tokens take."""
        return -(-tokens // self.block_size)

    def allocate(self, count: int) -> list[int]:
        """Take `count` blocks, all or none of them; each then has one reference.

        Raises:
            ValueError: fewer are available; none was taken.
        """
        self.check_available(count)
        return [self._take(next(iter(self._unused))) for _ in range(count)]

    def check_available(self, count: int) -> None:
        """Raise ValueError if fewer than `count` blocks can be allocated."""
        if count > self.available:
            were = f"{counted(count, 'block')} {'was' if count == 1 else 'were'}"
            raise ValueError(f"{were} asked for, but {self.available} of {self.num_blocks} are available")

    def share(self, block: int) -> None:
        """Add a reference to a used or cached block: one more table has it."""
        if not self.reference_counts[block]:
            assert block in self.prefixes, f"block {block} is free"
            del self._unused[block]
        self.reference_counts[block] += 1

    def free(self, blocks: Sequence[int]) -> None:
        """Drop one reference to each of these blocks. A block without references becomes cached or free.

        The last block is released first. So a child is evicted before its parent, through which alone it is found.
        """
        for block in reversed(blocks):
            assert self.reference_counts[block], f"block {block} is freed twice"
            self.reference_counts[block] -= 1
            if not self.reference_counts[block]:
                self._release(block)

    def find_prefix(self, tokens: Sequence[int]) -> list[PrefixBlock]:
        """Return the longest known prefix of these tokens. At least one token is left to run, for its logits."""
        return self.prefixes.find(tokens[:-1], self.block_size)

    def unpublish(self, block: int) -> None:
        """Drop a used block from the prefix table, because its contents are about to change."""
        assert self.reference_counts[block], f"block {block} is not in use"
        self.prefixes.remove(block)
        tell(BlockUnpublished(self, block))

    def _release(self, block: int) -> None:
        self._unused[block] = None  # at the end: the most recently used
        if block not in self.prefixes:
            self._unused.move_to_end(block, last=False)  # free: to the front

    def _take(self, block: int) -> int:
        if block in self.prefixes:
            self._evict(block)
        del self._unused[block]
        self.reference_counts[block] = 1
        return block

    def _evict(self, block: int) -> None:
        self.prefixes.remove(block)
        self.evictions += 1
        tell(BlockEvicted(self, block))
