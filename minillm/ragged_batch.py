"""RaggedBatch: new tokens of several sequences, laid end to end as rows, and all that is known of them beforehand.

Everything that depends on lengths is worked out here, on the host, before the first layer: a backend that computes on
another device can send it there in one copy, and nothing needs to be sent or asked for again until the logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from minillm.arrays import Array, Int
from minillm.attention import Segments


@dataclass(frozen=True)
class CacheLayout:
    """Where a sequence lies: token t is at slot table[t // block_size] * block_size + t % block_size.

    Attributes:
        keys, values: `[layers, kv_heads, slots, head_dim]`.
        block_size: tokens in a block.
        table: the numbers of its blocks, in order.
    """

    keys: Array
    values: Array
    block_size: int
    table: Sequence[int]


@runtime_checkable
class LayerCache(Protocol):
    """What the layers of a forward pass ask of a cache."""

    length: int

    def write(self, layer: int, k: Array, v: Array) -> None:
        """Lay the keys and values `[new, kv_heads, head_dim]` of new tokens behind those held."""

    def segments(self, layer: int, end: int) -> Segments:
        """Keys and values of the first `end` tokens, in order."""

    def layout(self) -> CacheLayout:
        """Where the tokens lie."""


@dataclass(frozen=True)
class RaggedBatch:
    """What one forward pass runs.

    Attributes:
        tokens: the ids, row by row.
        positions: of each row in its own sequence.
        logit_indices: the rows whose logits are computed.
        spans: the rows of each sequence.
        caches: of each sequence.
    """

    tokens: Int[Array, "tokens"]
    positions: Int[Array, "tokens"]
    logit_indices: Int[Array, "rows"]
    spans: Sequence[slice]
    caches: Sequence[LayerCache]


def ragged_batch(new_tokens: Sequence[Array], caches: Sequence[LayerCache], logit_rows: Sequence[int]) -> RaggedBatch:
    """Lay the tokens end to end; the last `logit_rows` of each sequence get logits."""
    ends = np.cumsum([len(tokens) for tokens in new_tokens])
    spans = [slice(int(end) - len(tokens), int(end)) for tokens, end in zip(new_tokens, ends, strict=True)]
    positions = [np.arange(c.length, c.length + len(t)) for t, c in zip(new_tokens, caches, strict=True)]
    logit_indices = [np.arange(s.stop - n, s.stop) for s, n in zip(spans, logit_rows, strict=True)]
    return RaggedBatch(
        np.concatenate(new_tokens), np.concatenate(positions), np.concatenate(logit_indices), spans, caches
    )
