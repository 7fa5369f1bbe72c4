"""PagedKVCache: a KV cache in blocks, taken from a common pool as the sequence grows.

A contiguous cache reserves memory for the longest sequence that may come. A paged cache leaves at most one block
partly empty. Which blocks a sequence has, and when it shares them, is the matter of `BlockTable`. Here are the keys and
values in them: written, read as segments, copied when a shared block has to be written, and swapped out and in.
Source: Kwon et al., vLLM, 2309.06180, section 4.
"""

from minillm.arrays import Array, Float
from minillm.attention import Segments
from minillm.kv_cache.block_table import BlockTable, slot_ranges
from minillm.kv_cache.cache import take_memory
from minillm.kv_cache.memory import CacheMemory, SwappedCache
from minillm.kv_cache.neighbours import NeighbourAllocator
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


class PagedKVCache(BlockTable):
    """The cache of one sequence, with the interface of `KVCache`. Call `free` when done: the blocks are the pool's.

    Attributes:
        pool: the pool whose blocks it takes.
        model: the model whose keys and values it holds.
        length, table, prefix: as in `BlockTable`.

    Example:
        >>> model = minillm.load("story")
        >>> cache = minillm.PagedKVCache(minillm.BlockPool(model, num_blocks=4, block_size=16))
        >>> logits = minillm.prefill(model, model.tokenizer.encode("The capital of France is"), cache)
        >>> cache.length, cache.table
        (5, [0])
        >>> cache.free()
    """

    pool: BlockPool

    def __init__(self, pool: BlockPool) -> None:
        """Begin empty, without a block.

        Raises:
            ValueError: `pool` is not a BlockPool.
        """
        if not isinstance(pool, BlockPool):
            raise ValueError(f"pool is of type {type(pool).__name__}; expected a minillm.BlockPool")
        super().__init__(pool)
        self.model = pool.model
        self._known_ranges: dict[tuple[int, int], list[slice]] = {}  # cleared when the table changes

    @property
    def memory(self) -> CacheMemory:
        """The arrays that store keys and values: the pool's."""
        return self.pool.memory

    @property
    def nbytes(self) -> int:
        """Bytes of the blocks in the table, shared ones included."""
        return len(self.table) * self.pool.block_nbytes

    def reserve(self, new_tokens: int) -> None:
        """Take the blocks for `new_tokens` more tokens, and make the first of them writable, all or nothing."""
        self._known_ranges.clear()
        super().reserve(new_tokens)

    def truncate(self, length: int) -> None:
        """Drop every token from index `length` on, and give back the blocks without a token."""
        super().truncate(length)
        self._known_ranges.clear()

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

    def _copy_block(self, source: int, target: int) -> None:
        self.pool.copy_block(source, target)

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
