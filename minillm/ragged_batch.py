"""RaggedBatch: the new tokens of several sequences, laid end to end as rows, and all that depends on their lengths.

Three sequences in one forward pass, without padding: A is a prompt of 4 tokens, B decodes its 8th token, C verifies
two draft tokens after its 4th token:

    row            0    1    2    3    4    5    6    7
    sequence       A    A    A    A    B    C    C    C
    token         The  sky  is   blue  is   in  the  sea
    position       0    1    2    3    7    3    4    5      its index in its own sequence
    spans         A: slice(0, 4)       B    C: slice(5, 8)
    logit_indices                 3    4    5    6    7      rows whose logits are computed

All products of a layer take all rows at once. Only attention asks which row belongs to which sequence. Everything that
depends on lengths is worked out here, before the first layer, so that a GPU backend sends it over in one copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from minillm.arrays import Array, Int
from minillm.attention import Segments


@dataclass(frozen=True)
class CacheLayout:
    """Where the tokens of a cache are: token t is at slot table[t // block_size] * block_size + t % block_size.

    Attributes:
        keys, values: `[layers, kv_heads, slots, head_dim]`, floats, or int8 with scales.
        block_size: tokens in a block.
        table: the numbers of its blocks, in order.
        key_scales, value_scales: `[layers, kv_heads, slots]`, float32: a key is its numbers times its scale. None for
            floats.
    """

    keys: Array
    values: Array
    block_size: int
    table: Sequence[int]
    key_scales: Array | None = None
    value_scales: Array | None = None

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one token's keys and values in one layer."""
        arrays = [self.keys, self.values, self.key_scales, self.value_scales]
        return sum(array[0, :, 0].nbytes for array in arrays if array is not None)


@runtime_checkable
class LayerCache(Protocol):
    """What the layers of a forward pass ask of a cache."""

    length: int

    def write(self, layer: int, k: Array, v: Array) -> None:
        """Write the keys and values `[new, kv_heads, head_dim]` of new tokens after those in the cache."""

    def segments(self, layer: int, end: int) -> Segments:
        """Return keys and values of the first `end` tokens, in order."""

    def layout(self) -> CacheLayout:
        """Return where the tokens are, for backends whose kernels read the cache themselves."""


@dataclass(frozen=True)
class RaggedBatch:
    """The input of one forward pass.

    Attributes:
        tokens: the token id of each row.
        positions: the position of each row in its own sequence.
        logit_indices: the rows whose logits are computed.
        spans: for each sequence, its rows.
        caches: for each sequence, its cache.
    """

    tokens: Int[Array, "tokens"]
    positions: Int[Array, "tokens"]
    logit_indices: Int[Array, "rows"]
    spans: Sequence[slice]
    caches: Sequence[LayerCache]


def ragged_batch(new_tokens: Sequence[Array], caches: Sequence[LayerCache], logit_rows: Sequence[int]) -> RaggedBatch:
    """Lay the new tokens of all sequences end to end.

    Args:
        new_tokens: for each sequence, its token ids.
        caches: for each sequence, the cache that its new tokens extend.
        logit_rows: for each sequence, the number of its last rows whose logits are computed.
    """
    ends = np.cumsum([len(tokens) for tokens in new_tokens])
    spans = [slice(int(end) - len(tokens), int(end)) for tokens, end in zip(new_tokens, ends, strict=True)]
    positions = [np.arange(c.length, c.length + len(t)) for t, c in zip(new_tokens, caches, strict=True)]
    indices = [np.arange(s.stop - n, s.stop) for s, n in zip(spans, logit_rows, strict=True)]
    return RaggedBatch(np.concatenate(new_tokens), np.concatenate(positions), np.concatenate(indices), spans, caches)
