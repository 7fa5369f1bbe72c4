"""KVCache: the keys and values of the tokens seen so far, so that no step computes them again.

Contiguous: room for `capacity` tokens is taken at once, and token t lies at index t. `length` is the one thing that
says which entries count: `truncate` only lowers it, and whatever lies beyond is overwritten by the next `write`.
Size: 2 (keys and values) * layers * kv_heads * head_dim * bytes per number, for each token of capacity.
"""

from minillm.arrays import Array, Float
from minillm.attention import Segments
from minillm.kv_cache.cache import take_memory
from minillm.model import Model, check_model
from minillm.ragged_batch import CacheLayout
from minillm.support.checks import check_integer, shown


class KVCache:
    """The cache of one sequence.

    Attributes:
        length: tokens held.
        capacity: tokens there is room for.
        keys, values: `[layers, kv_heads, capacity, head_dim]`, in the model's dtype, where its backend keeps arrays.
    """

    def __init__(self, model: Model, capacity: int = 2048) -> None:
        """An empty cache.

        Args:
            model: the model whose keys and values it will hold.
            capacity: the most tokens it can hold; more than the model's context is of no use, and no harm.

        Raises:
            ValueError: capacity is not a whole number of at least 1, or there is not so much memory.
        """
        check_model(model)
        capacity = check_integer("capacity", capacity, 1)
        self.model, self.capacity, self.length = model, capacity, 0
        self.keys, self.values = take_memory(model, capacity, f"capacity is {shown(capacity)}")

    @property
    def nbytes(self) -> int:
        """Bytes reserved for keys and values, for the whole capacity."""
        return int(self.keys.nbytes + self.values.nbytes)

    def check_room(self, new_tokens: int) -> None:
        """Raise ValueError, before anything is written, if so many more tokens do not fit."""
        need = self.length + new_tokens
        if need > self.capacity:
            raise ValueError(
                f"the cache holds {self.capacity} tokens, {self.length} are in use and {new_tokens} more were given; "
                f"pass capacity={need}"
            )

    def reserve(self, new_tokens: int) -> None:
        """Nothing is left to take: the room for `capacity` tokens was taken at once."""
        self.check_room(new_tokens)

    def write(
        self, layer: int, k: Float[Array, "new kv_heads head_dim"], v: Float[Array, "new kv_heads head_dim"]
    ) -> None:
        """Lay the keys and values of new tokens behind those held; `length` grows only when all layers have written.

        Raises:
            ValueError: there is no room for them. (NumPy would take one row for none, and say nothing.)
        """
        self.check_room(len(k))
        end = self.length + len(k)
        self.keys[layer, :, self.length : end] = k.swapaxes(0, 1)
        self.values[layer, :, self.length : end] = v.swapaxes(0, 1)

    def segments(self, layer: int, end: int) -> Segments:
        """Keys and values `[kv_heads, end, head_dim]` of the first `end` tokens: one piece, a view."""
        return [(self.keys[layer, :, :end], self.values[layer, :, :end])]

    def layout(self) -> CacheLayout:
        """One block, as large as the cache."""
        return CacheLayout(self.keys, self.values, self.capacity, [0])

    def truncate(self, length: int) -> None:
        """Forget all tokens from index `length` on.

        Raises:
            ValueError: length is negative or more than the cache holds.
        """
        self.length = check_integer("length", length, 0, self.length)

    def fork(self) -> "KVCache":
        """An independent copy that holds the same tokens."""
        copy = KVCache(self.model, self.capacity)
        copy.length = self.length
        copy.keys[:, :, : self.length] = self.keys[:, :, : self.length]
        copy.values[:, :, : self.length] = self.values[:, :, : self.length]
        return copy
