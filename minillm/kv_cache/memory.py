"""CacheMemory: the arrays in which a cache stores keys and values. Here they are floats; in `int8.py`, 8-bit integers.

A contiguous or paged cache decides which *slot* a token takes. The memory decides what a slot stores:

    arrays     [layers, kv_heads, slots, ...]     floats: keys, values
                                                  int8: keys, values, the scales of the keys, those of the values

A fork, a copy-on-write and a swap copy the slots of every array, so they need not know what is stored. Each tells the
backend before it copies: on several ranks, every rank's memory does the same. A new memory tells it when it has its
arrays, so that what is too large for rank 0 is not asked of the others.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from minillm.arrays import Array, Float
from minillm.model import Model

KeysAndValues = tuple[Float[Array, "kv_heads _ head_dim"], Float[Array, "kv_heads _ head_dim"]]


class CacheMemory:
    """Slots for keys and values, stored as floats of the model's dtype.

    Attributes:
        stored_as: the `dtype` that a user passes to get this kind of memory.
        ops: the model's backend.
        dtype: the model's dtype, in which keys and values are read.
        arrays: what is stored, `[layers, kv_heads, slots, ...]` each.
    """

    stored_as: ClassVar[str | None] = None

    def __init__(self, model: Model, slots: int) -> None:
        """Allocate zeros. Most systems do not back pages with memory until they are written."""
        self.ops, self.dtype = model.ops, model.dtype
        self.arrays = tuple(model.ops.zeros(shape, dtype) for shape, dtype in self.shapes(model, slots))
        self.ops.tell(self, "new", model, slots)

    @staticmethod
    def shapes(model: Model, slots: int) -> list[tuple[tuple[int, ...], np.dtype[Any]]]:
        """Return shape and dtype of each array."""
        config = model.config
        shape = (config.num_hidden_layers, config.num_key_value_heads, slots, config.head_dim)
        return [(shape, model.dtype)] * 2

    @classmethod
    def bytes_of(cls, model: Model, slots: int) -> int:
        """Return the bytes that the arrays of `slots` slots take."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in cls.shapes(model, slots))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(int(array.nbytes) for array in self.arrays)

    @property
    def keys(self) -> Array:
        """The stored keys, `[layers, kv_heads, slots, head_dim]`."""
        return self.arrays[0]

    @property
    def values(self) -> Array:
        """The stored values, `[layers, kv_heads, slots, head_dim]`."""
        return self.arrays[1]

    @property
    def scales(self) -> tuple[Array, Array] | tuple[None, None]:
        """The scales of keys and of values, `[layers, kv_heads, slots]` each; (None, None) for floats."""
        return None, None

    def write(
        self,
        layer: int,
        slots: slice,
        k: Float[Array, "new kv_heads head_dim"],
        v: Float[Array, "new kv_heads head_dim"],
    ) -> None:
        """Write the keys and values of new tokens into these slots."""
        self.keys[layer, :, slots] = k.swapaxes(0, 1)  # [kv_heads, new, head_dim]
        self.values[layer, :, slots] = v.swapaxes(0, 1)

    def read(self, stored: Sequence[Array]) -> KeysAndValues:
        """Return keys and values as floats. `stored` are slots of one layer: `[kv_heads, _, ...]` of each array."""
        keys, values = stored
        return keys, values

    def copy(self, source: slice, target: slice) -> None:
        """Copy slots to other slots, in all layers."""
        self.ops.tell(self, "copy", source, target)
        for array in self.arrays:
            array[:, :, target] = array[:, :, source]

    def copy_from(self, other: "CacheMemory", slots: slice) -> None:
        """Copy slots of another memory of this kind to the same slots here."""
        self.ops.tell(self, "copy_from", other, slots)
        for new, old in zip(self.arrays, other.arrays, strict=True):
            new[:, :, slots] = old[:, :, slots]

    def save(self, ranges: Sequence[slice]) -> "SwappedCache":
        """Return a copy of these slots on the host, laid end to end."""
        saved = SwappedCache()
        self.ops.tell(self, "save", saved, ranges)
        to_host = self.ops.to_host
        saved.arrays = [
            np.concatenate([to_host(array[:, :, slots]) for slots in ranges], axis=2) for array in self.arrays
        ]
        return saved

    def restore(self, saved: "SwappedCache", tokens: slice, slots: slice) -> None:
        """Copy saved slots, by their places in the copy, back to these slots."""
        self.ops.tell(self, "restore", saved, tokens, slots)
        for array, copied in zip(self.arrays, saved.arrays, strict=True):
            array[:, :, slots] = self.ops.array(copied[:, :, tokens])


class SwappedCache:
    """The contents of a cache, copied out of its memory.

    Attributes:
        arrays: those of the memory, `[layers, kv_heads, tokens, ...]` each.
    """

    def __init__(self) -> None:
        self.arrays: list[Array] = []

    @property
    def length(self) -> int:
        """Number of tokens."""
        return int(self.arrays[0].shape[2])
