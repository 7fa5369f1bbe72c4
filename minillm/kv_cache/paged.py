"""PagedKVCache: a KV cache in blocks, taken from a common pool as the sequence grows.

A contiguous cache reserves memory for the longest sequence that may come. A paged cache leaves at most one block
partly empty. Token t of a sequence is in block `table[t // block_size]`, at slot `t % block_size` of that block:

    block_size 3
    pool     block 0         block 1           block 2        block 3
             Spain is ___    The capital of    ___ ___ ___    France is ___
    A.table  [1, 3]          The capital of France is
    B.table  [1, 0]          The capital of Spain is          block 1 has two references

Blocks can be shared. A fork shares all of them, and a new sequence begins with the blocks that another one computed
for the same tokens. A shared block is never written: a sequence that has to write takes a copy first (copy-on-write).
Source: Kwon et al., vLLM, 2309.06180, section 4.
"""

from collections.abc import Sequence

from minillm.arrays import Array, Float
from minillm.attention import Segments
from minillm.kv_cache.cache import take_memory
from minillm.kv_cache.memory import CacheMemory, SwappedCache
from minillm.kv_cache.neighbours import NeighbourAllocator
from minillm.kv_cache.prefix import PrefixBlock
from minillm.model import Model, check_model
from minillm.ragged_batch import CacheLayout
from minillm.support.checks import check_integer, shown
from minillm.support.wording import counted

MANY_SEGMENTS = 8  # up to 8 segments are read in place
SHORT_SEGMENT = 64  # tokens: one more segment costs about as much time as copying 64 tokens


class BlockPool(NeighbourAllocator):
    """The memory behind many caches: blocks of keys and values, handed out as `BlockAllocator` says.

    Attributes:
        model: the model whose keys and values the pool holds.
        memory: the arrays that store keys and values; block b is the slots from b * block_size on.
        keys, values: `[layers, kv_heads, slots, head_dim]`, in the model's dtype, or in int8 without their scales.

    Example:
        >>> model = minillm.load("story")
        >>> pool = minillm.BlockPool(model, num_blocks=64, block_size=16)
        >>> pool.available, pool.block_nbytes
        (64, 49152)
        >>> minillm.BlockPool(model, num_blocks=64, block_size=16, dtype="int8").block_nbytes
        13824
    """

    def __init__(self, model: Model, num_blocks: int, block_size: int = 16, dtype: str | None = None) -> None:
        """Reserve the memory; all blocks are free. Most systems do not back pages with memory until they are written.

        Args:
            model, num_blocks, block_size: as above.
            dtype: "int8" to store keys and values in 8 bits; None for the model's dtype.

        Raises:
            ValueError: a wrong argument, or not enough memory.
        """
        check_model(model)
        slots = check_integer("num_blocks", num_blocks, 1) * check_integer("block_size", block_size, 1)
        cause = f"num_blocks is {shown(num_blocks)} and block_size is {shown(block_size)}"
        self.model = model
        self.memory = take_memory(model, slots, dtype, cause)
        self.keys, self.values = self.memory.keys, self.memory.values
        super().__init__(num_blocks, block_size)

    def __repr__(self) -> str:
        return f"BlockPool({self.used} of {counted(self.num_blocks, 'block')} used, block_size={self.block_size})"

    @property
    def block_nbytes(self) -> int:
        """Bytes of the keys and values of one block."""
        return self.memory.nbytes // self.num_blocks

    def copy_block(self, source: int, target: int) -> None:
        """Copy the keys and values of block `source` to block `target`, in all layers."""
        size = self.block_size
        old, new = slice(source * size, (source + 1) * size), slice(target * size, (target + 1) * size)
        self.memory.copy(old, new)


class PagedKVCache:
    """The cache of one sequence, with the interface of `KVCache`. Call `free` when done: the blocks are the pool's.

    Attributes:
        length: tokens in the cache.
        table: its block table, in the order of the sequence; the last blocks may be reserved for tokens to come.
        prefix: for each of its first full blocks, its entry in the prefix table: found by `adopt_prefix` or added by
            `publish`. An entry may name another block with the same tokens, which was published before.

    Example:
        >>> model = minillm.load("story")
        >>> cache = minillm.PagedKVCache(minillm.BlockPool(model, num_blocks=4, block_size=16))
        >>> logits = minillm.prefill(model, model.tokenizer.encode("The capital of France is"), cache)
        >>> cache.length, cache.table
        (5, [0])
        >>> cache.free()
    """

    def __init__(self, pool: BlockPool) -> None:
        """Begin empty, without a block.

        Raises:
            ValueError: `pool` is not a BlockPool.
        """
        if not isinstance(pool, BlockPool):
            raise ValueError(f"pool is of type {type(pool).__name__}; expected a minillm.BlockPool")
        self.pool = pool
        self.model = pool.model
        self.length = 0
        self.table: list[int] = []
        self.prefix: list[PrefixBlock] = []
        self._known_ranges: dict[tuple[int, int], list[slice]] = {}  # cleared when the table changes

    def __repr__(self) -> str:
        return f"PagedKVCache(length={self.length}, table={self.table}, block_size={self.pool.block_size})"

    @property
    def capacity(self) -> int:
        """Number of tokens that fit into the blocks of the table."""
        return len(self.table) * self.pool.block_size

    @property
    def memory(self) -> CacheMemory:
        """The arrays that store keys and values: the pool's."""
        return self.pool.memory

    @property
    def nbytes(self) -> int:
        """Bytes of the blocks in the table, shared ones included."""
        return len(self.table) * self.pool.block_nbytes

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
        self._known_ranges.clear()
        if new_tokens:
            self._make_writable()
        missing = self.pool.blocks_for(self.length + new_tokens) - len(self.table)
        if missing > 0:
            self.table += self.pool.allocate(missing, self.table[-1] if self.table else None)

    def write(
        self, layer: int, k: Float[Array, "new kv_heads head_dim"], v: Float[Array, "new kv_heads head_dim"]
    ) -> None:
        """Write the keys and values of new tokens into the slots reserved for them."""
        first = 0
        for slots in self._slot_ranges(self.length, self.length + len(k)):
            rows = slice(first, first + slots.stop - slots.start)
            self.pool.memory.write(layer, slots, k[rows], v[rows])
            first = rows.stop

    def segments(self, layer: int, end: int) -> Segments:
        """Return keys and values of the first `end` tokens: a segment for each run of neighbouring blocks.

        Floats are views of the pool. Many short segments would cost more calls than arithmetic, so those are copied
        together into one.
        """
        memory, ranges = self.pool.memory, self._slot_ranges(0, end)
        stored = [array[layer] for array in memory.arrays]  # [kv_heads, slots, ...]
        if len(ranges) > MANY_SEGMENTS and end < SHORT_SEGMENT * len(ranges):
            return [memory.read([self._gathered(array, end) for array in stored])]
        return [memory.read([array[:, slots] for array in stored]) for slots in ranges]

    def layout(self) -> CacheLayout:
        """Return the pool's arrays and this cache's table."""
        pool = self.pool
        return CacheLayout(pool.keys, pool.values, pool.block_size, self.table, *pool.memory.scales)

    def truncate(self, length: int) -> None:
        """Drop every token from index `length` on, and give back the blocks without a token.

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
        """Give all blocks back. The cache is then empty and can be used again."""
        self.truncate(0)

    def fork(self) -> "PagedKVCache":
        """Return a cache with the same tokens in the same blocks. Neither of the two writes a shared block."""
        copy = PagedKVCache(self.pool)
        copy.length = self.length
        copy.prefix = list(self.prefix)
        copy.table = self.table[: self.pool.blocks_for(self.length)]
        for block in copy.table:
            self.pool.share(block)
        return copy

    def adopt_prefix(self, tokens: Sequence[int]) -> int:
        """Fill an empty cache with the blocks that already hold a prefix of `tokens`.

        Returns:
            the number of tokens that are cached now: a multiple of the block size, less than `len(tokens)`.
        """
        assert not self.table, "only an empty cache can adopt a prefix"
        self.prefix = self.pool.find_prefix(tokens)
        self.table = [known.block for known in self.prefix]
        for block in self.table:
            self.pool.share(block)
        self.length = len(self.table) * self.pool.block_size
        return self.length

    def publish(self, tokens: Sequence[int]) -> None:
        """Let other sequences begin with the full blocks of this cache. `tokens` are its tokens, or more."""
        size = self.pool.block_size
        for number in range(len(self.prefix), self.length // size):
            parent = self.prefix[-1] if self.prefix else None
            block_tokens = tokens[number * size : (number + 1) * size]
            self.prefix.append(self.pool.prefixes.add(parent, block_tokens, self.table[number]))

    def swap_out(self) -> SwappedCache:
        """Copy the keys and values of all tokens (at least one) out of the pool, and give all blocks back."""
        saved = self.pool.memory.save(self._slot_ranges(0, self.length))
        self.free()
        return saved

    def swap_in(self, saved: SwappedCache) -> None:
        """Take blocks and copy the saved keys and values into them, after the tokens that the cache holds already.

        Raises:
            ValueError: the pool has too few blocks, or another dtype; nothing has changed then.
        """
        arrays, first = self.pool.memory.arrays, self.length
        if [array.dtype for array in saved.arrays] != [array.dtype for array in arrays]:
            raise ValueError(f"the saved keys are in {saved.arrays[0].dtype}, those of the pool in {arrays[0].dtype}")
        if saved.length <= first:
            return
        self.reserve(saved.length - first)
        for slots in self._slot_ranges(first, saved.length):
            tokens = slice(first, first + slots.stop - slots.start)
            self.pool.memory.restore(saved, tokens, slots)
            first = tokens.stop
        self.length = saved.length

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
                self.pool.copy_block(block, new)
            except BaseException:  # Ctrl-C, for example: the block is still shared
                self.pool.free([new])
                raise
            self.table[number] = new
            self.pool.free([block])
        elif number < len(self.table) and self.table[number] in self.pool.prefixes:  # truncated into a published block
            self.pool.unpublish(self.table[number])

    def _slot_ranges(self, first: int, end: int) -> list[slice]:
        """Return `slot_ranges` of this table, computed once for all layers."""
        if (first, end) not in self._known_ranges:
            self._known_ranges[first, end] = slot_ranges(self.table, self.pool.block_size, first, end)
        return self._known_ranges[first, end]

    def _gathered(self, pooled: Array, end: int) -> Array:
        """Copy the first `end` tokens of `[kv_heads, slots, ...]` into one array `[kv_heads, end, ...]`, by blocks."""
        kv_heads, _, *each = pooled.shape
        blocks = pooled.reshape(kv_heads, self.pool.num_blocks, -1)  # [kv_heads, blocks, block_size * head_dim]
        copied = blocks[:, self.table[: self.pool.blocks_for(end)]]
        return copied.reshape(kv_heads, -1, *each)[:, :end]


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
