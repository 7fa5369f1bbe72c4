"""PagedKVCache: a KV cache in blocks that need not lie together, taken from a common pool as the sequence grows.

A contiguous cache reserves for the longest sequence that may come; here at most one block is partly empty. Token t
of a sequence lies at place `t % block_size` of block `table[t // block_size]`. Blocks can be shared: a fork shares all
of them, and a sequence may begin with blocks that another one computed for the same tokens. A shared block is never
written: whoever has to, takes a copy first (copy-on-write). Source: Kwon et al., vLLM, 2309.06180, section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Float
from minillm.attention import Segments
from minillm.kv_cache.blocks import BlockAllocator
from minillm.kv_cache.cache import take_memory
from minillm.kv_cache.prefix import PrefixBlock
from minillm.model import Model, check_model
from minillm.ragged_batch import CacheLayout
from minillm.support.checks import check_integer, shown


class BlockPool(BlockAllocator):
    """The memory behind many caches: blocks of keys and values.

    Attributes:
        model: whose keys and values it holds.
        keys, values: `[layers, kv_heads, slots, head_dim]`; block b is the slots from b * block_size on.
    """

    def __init__(self, model: Model, num_blocks: int, block_size: int = 16) -> None:
        """All blocks are free; memory that was never written takes no room on most systems.

        Raises:
            ValueError: a wrong argument, or there is not so much memory.
        """
        check_model(model)
        slots = check_integer("num_blocks", num_blocks, 1) * check_integer("block_size", block_size, 1)
        cause = f"num_blocks is {shown(num_blocks)} and block_size is {shown(block_size)}"
        self.model = model
        self.keys, self.values = take_memory(model, slots, cause)  # before the allocator, which is the smaller
        super().__init__(num_blocks, block_size)

    @property
    def block_nbytes(self) -> int:
        """Bytes of one block's keys and values."""
        return int(self.keys.nbytes + self.values.nbytes) // self.num_blocks

    def copy_block(self, source: int, target: int) -> None:
        """Copy the keys and values of one block to another, in all layers."""
        size = self.block_size
        old, new = slice(source * size, (source + 1) * size), slice(target * size, (target + 1) * size)
        self.keys[:, :, new] = self.keys[:, :, old]
        self.values[:, :, new] = self.values[:, :, old]


@dataclass(frozen=True)
class SwappedCache:
    """The contents of a cache, copied out of the pool: keys and values `[layers, kv_heads, tokens, head_dim]`."""

    keys: Array
    values: Array

    @property
    def length(self) -> int:
        """How many tokens it holds."""
        return int(self.keys.shape[2])


class PagedKVCache:
    """The cache of one sequence. It can do what `KVCache` can, and must be freed, since its blocks belong to a pool.

    Attributes:
        length: tokens held.
        table: the blocks, in the order of the sequence; the last may be reserved for tokens to come.
        prefix: the entries in the pool's prefix table that its first blocks were found by or published as.
    """

    def __init__(self, pool: BlockPool) -> None:
        """An empty cache, which holds no block yet.

        Raises:
            ValueError: not a pool.
        """
        if not isinstance(pool, BlockPool):
            raise ValueError(f"pool is of type {type(pool).__name__}; expected a minillm.BlockPool")
        self.pool, self.model, self.length = pool, pool.model, 0
        self.table: list[int] = []
        self.prefix: list[PrefixBlock] = []
        self._known_ranges: dict[tuple[int, int], list[slice]] = {}

    @property
    def capacity(self) -> int:
        """Tokens that fit into the blocks it holds."""
        return len(self.table) * self.pool.block_size

    @property
    def nbytes(self) -> int:
        """Bytes of the blocks it holds, shared ones included."""
        return len(self.table) * self.pool.block_nbytes

    def blocks_needed(self, new_tokens: int) -> int:
        """How many blocks it must take from the pool for so many more tokens: new ones, and a copy of a shared one."""
        new = self.pool.blocks_for(self.length + new_tokens) - len(self.table)
        return max(0, new) + (new_tokens > 0 and self._next_is_shared())

    def check_room(self, new_tokens: int) -> None:
        """Raise ValueError, before anything is written, if the pool has no blocks for so many more tokens."""
        need, pool = self.blocks_needed(new_tokens), self.pool
        if need > pool.available:
            raise ValueError(
                f"{new_tokens} more tokens need {need} more blocks of {pool.block_size}, but {pool.available} of the "
                f"pool's {pool.num_blocks} are available; free another cache, or pass a larger num_blocks"
            )

    def reserve(self, new_tokens: int) -> None:
        """Take the blocks for so many more tokens, and make the first of them writable, all or nothing.

        Raises:
            ValueError: the pool has too few.
        """
        self.check_room(new_tokens)
        self._known_ranges.clear()
        if new_tokens:
            self._make_writable()
        missing = self.pool.blocks_for(self.length + new_tokens) - len(self.table)
        if missing > 0:
            self.table += self.pool.allocate(missing, self.table[-1] if self.table else None)

    def write(
        self, layer: int, k: Float[Array, "new kv_heads head_dim"], v: Float[Array, "new kv_heads head_dim"]
    ) -> None:
        """Lay the keys and values of new tokens into the slots reserved for them, whatever blocks those are in."""
        keys, values, first = self.pool.keys[layer], self.pool.values[layer], 0
        for run in self._slot_ranges(self.length, self.length + len(k)):
            rows = slice(first, first + run.stop - run.start)
            keys[:, run], values[:, run] = k[rows].swapaxes(0, 1), v[rows].swapaxes(0, 1)
            first = rows.stop

    def segments(self, layer: int, end: int) -> Segments:
        """Keys and values of the first `end` tokens: a view `[kv_heads, keys, head_dim]` for each run of neighbours."""
        keys, values = self.pool.keys[layer], self.pool.values[layer]
        return [(keys[:, run], values[:, run]) for run in self._slot_ranges(0, end)]

    def layout(self) -> CacheLayout:
        """The pool, and this cache's table."""
        return CacheLayout(self.pool.keys, self.pool.values, self.pool.block_size, self.table)

    def truncate(self, length: int) -> None:
        """Forget all tokens from index `length` on, and give back the blocks that hold none of the rest.

        Raises:
            ValueError: length is negative or more than the cache holds.
        """
        self.length = check_integer("length", length, 0, self.length)
        kept = self.pool.blocks_for(self.length)
        dropped, self.table = self.table[kept:], self.table[:kept]
        self._known_ranges.clear()
        del self.prefix[self.length // self.pool.block_size :]
        self.pool.free(dropped)

    def free(self) -> None:
        """Give all blocks back; the cache is empty then, and can be used again."""
        self.truncate(0)

    def fork(self) -> "PagedKVCache":
        """A cache that holds the same tokens in the same blocks; both stay independent, since neither writes those."""
        copy = PagedKVCache(self.pool)
        copy.length, copy.prefix = self.length, list(self.prefix)
        copy.table = self.table[: self.pool.blocks_for(self.length)]
        for block in copy.table:
            self.pool.share(block)
        return copy

    def adopt_prefix(self, tokens: Sequence[int]) -> int:
        """Begin, while empty, with the blocks in which the pool knows the first of these tokens; returns how many."""
        assert not self.table, "only an empty cache can adopt a prefix"
        self.prefix = self.pool.find_prefix(tokens)
        self.table = [known.block for known in self.prefix]
        for block in self.table:
            self.pool.share(block)
        self.length = len(self.table) * self.pool.block_size
        return self.length

    def publish(self, tokens: Sequence[int]) -> None:
        """Let other sequences begin with this cache's full blocks. `tokens` are those it holds, or more."""
        size = self.pool.block_size
        for number in range(len(self.prefix), self.length // size):
            parent = self.prefix[-1] if self.prefix else None
            block_tokens = tokens[number * size : (number + 1) * size]
            self.prefix.append(self.pool.prefixes.add(parent, block_tokens, self.table[number]))

    def swap_out(self) -> SwappedCache:
        """Copy the contents, at least one token, out of the pool; the cache gives its blocks back and is empty then."""
        to_host, runs = self.model.ops.to_host, self._slot_ranges(0, self.length)
        keys = np.concatenate([to_host(self.pool.keys[:, :, run]) for run in runs], axis=2)
        values = np.concatenate([to_host(self.pool.values[:, :, run]) for run in runs], axis=2)
        self.free()
        return SwappedCache(keys, values)

    def swap_in(self, saved: SwappedCache) -> None:
        """Take blocks and copy in what was copied out, behind what the cache holds of the same tokens already.

        Raises:
            ValueError: the pool has too few blocks; nothing has changed then.
        """
        first, array = self.length, self.model.ops.array
        if saved.length <= first:
            return
        self.reserve(saved.length - first)
        for run in self._slot_ranges(first, saved.length):
            tokens = slice(first, first + run.stop - run.start)
            self.pool.keys[:, :, run] = array(saved.keys[:, :, tokens])
            self.pool.values[:, :, run] = array(saved.values[:, :, tokens])
            first = tokens.stop
        self.length = saved.length

    def _next_is_shared(self) -> bool:
        """Whether the block that the next token belongs to is in another table too."""
        number = self.length // self.pool.block_size
        return number < len(self.table) and self.pool.reference_counts[self.table[number]] > 1

    def _make_writable(self) -> None:
        """Copy-on-write of the block that the next token belongs to; blocks behind it are never shared."""
        number, shared = self.length // self.pool.block_size, self._next_is_shared()
        if shared:
            block = self.table[number]
            [new] = self.pool.allocate(1, self.table[number - 1] if number else None)
            try:
                self.pool.copy_block(block, new)
            except BaseException:  # Ctrl-C, say: the block is still shared
                self.pool.free([new])
                raise
            self.table[number] = new
            self.pool.free([block])
        elif number < len(self.table) and self.table[number] in self.pool.prefixes:
            self.pool.unpublish(self.table[number])

    def _slot_ranges(self, first: int, end: int) -> list[slice]:
        """The slots of tokens `first` to `end`; neighbouring blocks are one slice. Every layer asks for the same."""
        if (first, end) not in self._known_ranges:
            self._known_ranges[first, end] = slot_ranges(self.table, self.pool.block_size, first, end)
        return self._known_ranges[first, end]


def slot_ranges(table: Sequence[int], block_size: int, first: int, end: int) -> list[slice]:
    """The slots of tokens `first` to `end` of a sequence with this table, in as few slices as possible."""
    runs: list[slice] = []
    while first < end:
        number, place = divmod(first, block_size)
        start = table[number] * block_size + place
        count = min(block_size - place, end - first)
        if runs and runs[-1].stop == start:
            start = runs.pop().start
        runs.append(slice(start, table[number] * block_size + place + count))
        first += count
    return runs
