"""KVCache: the keys and values of the tokens seen so far, so that no step computes them again.

The cache is contiguous: memory for `capacity` tokens is reserved at once, and token t is at index t. `length` alone
says which entries count. `truncate` only lowers it, and later writes overwrite what is beyond it.
Size in bytes: 2 (keys and values) * layers * kv_heads * head_dim * bytes of a number, for each token of capacity.
With `dtype="int8"` a number takes one byte, and each head's key or value four more for its scale (`int8.py`).
"""

from minillm.arrays import Array, Float
from minillm.attention import Segments
from minillm.kv_cache.cache import take_memory
from minillm.model import Model, check_model
from minillm.ragged_batch import CacheLayout
from minillm.support.checks import check_integer, shown
from minillm.support.wording import counted


class KVCache:
    """The cache of one sequence.

    Attributes:
        length: tokens in the cache.
        capacity: the most tokens that fit.
        memory: the arrays that store keys and values, where the model's backend keeps arrays.
        keys, values: `[layers, kv_heads, capacity, head_dim]`, in the model's dtype, or in int8 without their scales.

    Example:
        >>> model = minillm.load("story")
        >>> cache = minillm.KVCache(model, capacity=64)
        >>> logits = minillm.prefill(model, model.tokenizer.encode("The capital of France is"), cache)
        >>> cache
        KVCache(length=5, capacity=64, bytes=196608)
        >>> minillm.KVCache(model, capacity=64, dtype="int8")
        KVCache(length=0, capacity=64, dtype=int8, bytes=55296)
    """

    def __init__(self, model: Model, capacity: int = 2048, dtype: str | None = None) -> None:
        """Reserve an empty cache.

        Args:
            model: the model whose keys and values it will hold.
            capacity: the most tokens that fit. Values above the model's context length are allowed but never used.
            dtype: "int8" to store keys and values in 8 bits; None for the model's dtype.

        Raises:
            ValueError: capacity is not an integer of at least 1, dtype has another value, or memory is short.
        """
        check_model(model)
        self.model = model
        self.capacity = check_integer("capacity", capacity, 1)
        self.length = 0
        self.memory = take_memory(model, self.capacity, dtype, f"capacity is {shown(capacity)}")
        self.keys, self.values = self.memory.keys, self.memory.values

    def __repr__(self) -> str:
        dtype = "" if self.dtype is None else f"dtype={self.dtype}, "
        return f"KVCache(length={self.length}, capacity={self.capacity}, {dtype}bytes={self.nbytes})"

    @property
    def dtype(self) -> str | None:
        """What keys and values are stored in: "int8", or None for the model's dtype."""
        return self.memory.stored_as

    @property
    def nbytes(self) -> int:
        """Bytes reserved for keys and values, for the whole capacity."""
        return self.memory.nbytes

    def check_room(self, new_tokens: int) -> None:
        """Raise ValueError, before anything is written, if `new_tokens` more tokens do not fit."""
        need = self.length + new_tokens
        if need > self.capacity:
            raise ValueError(
                f"the cache holds {counted(self.capacity, 'token')}, {self.length} are in use and {new_tokens} more "
                f"were given; pass capacity={need}"
            )

    def reserve(self, new_tokens: int) -> None:
        """Check that `new_tokens` more tokens fit; their memory was reserved at the beginning."""
        self.check_room(new_tokens)

    def write(
        self, layer: int, k: Float[Array, "new kv_heads head_dim"], v: Float[Array, "new kv_heads head_dim"]
    ) -> None:
        """Write the keys and values of new tokens after those in the cache.

        `length` grows only when all layers have written.

        Raises:
            ValueError: they do not fit. Without this check NumPy would broadcast one row into an empty slice and hide
                the error.
        """
        self.check_room(len(k))
        self.memory.write(layer, slice(self.length, self.length + len(k)), k, v)

    def segments(self, layer: int, end: int) -> Segments:
        """Return keys and values `[kv_heads, end, head_dim]` of the first `end` tokens: one segment.

        It is a view of the memory, or a dequantised copy.
        """
        return [self.memory.read([array[layer, :, :end] for array in self.memory.arrays])]

    def layout(self) -> CacheLayout:
        """Return the arrays, and a block table with one block as large as the cache."""
        return CacheLayout(self.keys, self.values, self.capacity, [0], *self.memory.scales)

    def truncate(self, length: int) -> None:
        """Drop every token from index `length` on.

        Raises:
            ValueError: length is negative or more than the cache holds.
        """
        self.length = check_integer("length", length, 0, self.length)

    def fork(self) -> "KVCache":
        """Return an independent copy with the same tokens."""
        copy = KVCache(self.model, self.capacity, self.dtype)
        copy.length = self.length
        copy.memory.copy_from(self.memory, slice(0, self.length))
        return copy
