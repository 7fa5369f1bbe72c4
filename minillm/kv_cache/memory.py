"""CacheMemory: the arrays in which a cache stores keys and values. Here they are floats; in `int8.py`, 8-bit integers.

A contiguous or paged cache decides which *slot* a token takes. The memory decides what a slot stores:

    arrays     [layers, kv_heads, slots, ...]     floats: keys, values
                                                  int8: keys, values, the scales of the keys, those of the values

A fork, a copy-on-write and a swap copy the slots of every array, so they need not know what is stored.
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
        dtype: the model's dtype, in which keys and values are read.
        arrays: what is stored, `[layers, kv_heads, slots, ...]` each.
    """

    stored_as: ClassVar[str | None] = None

    def __init__(self, model: Model, slots: int) -> None:
        """Allocate zeros. Most systems do not back pages with memory until they are written."""
        self.dtype = model.dtype
        self.arrays = tuple(model.ops.zeros(shape, dtype) for shape, dtype in self.shapes(model, slots))

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
