"""What is observed of a run: for each token of each pass, the result of each operation.

A *row* is the work of one pass on one token. A *place* is an operation of a layer. A row and a place name one result: a
vector. Results of two runs are compared if they are of the same token. It does not matter in which pass it ran.
"""

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from minillm.arrays import Array, Float

OPERATIONS = (  # in the order in which they are computed
    *("embedding", "attention norm", "query", "key", "value", "rotated query", "rotated key", "attention"),
    *("attention output", "MLP norm", "gate", "up", "swiglu", "down", "final norm", "logits", "logits as run"),
)
AS_RUN = OPERATIONS[-1]  # of the model as it is, with no observer: on all threads, or all layers in one call
BEFORE_LAYERS, AFTER_LAYERS = -1, 1_000_000


class Wanted(NamedTuple):
    """What to keep of a run, besides digests.

    Attributes:
        rows: the rows whose results are kept.
        cache_layer: the layer in which also the keys and values that these rows read are kept; None for no layer.
    """

    rows: frozenset["RowKey"] = frozenset()
    cache_layer: int | None = None


NOTHING = Wanted()


class RowKey(NamedTuple):
    """The work of one pass on one token. Passes (steps), sequences and positions are counted from 0."""

    step: int
    sequence: int
    position: int


class Place(NamedTuple):
    """An operation of a layer, or one before or after all layers."""

    layer: int
    operation: int

    @property
    def name(self) -> str:
        """The operation in words."""
        return OPERATIONS[self.operation]

    @property
    def in_layer(self) -> int | None:
        """The number of the layer, or None."""
        return None if self.layer in (BEFORE_LAYERS, AFTER_LAYERS) else self.layer


class Source(NamedTuple):
    """Where a result was computed.

    Attributes:
        called: the line of the forward pass that asks for the result, as `file:line`.
        called_text: that line.
        computed: the line that returns the result, as `file:line`.
        computed_text: that line.
        function: the name of the function that returns it.
    """

    called: str
    called_text: str
    computed: str
    computed_text: str
    function: str


@dataclass
class Observed:
    """One run, observed.

    Attributes:
        epsilon: the relative rounding error of the dtype of the results.
        passes: for each pass, (sequence, first position, number of tokens) of each of its parts that counts.
        digests: for each row, the digest of each of its results.
        values: for the rows that were asked for, the results themselves.
        sources: for the passes of these rows, and each place, where its result was computed.
        read: for the rows that were asked for, the keys and the values that attention read from the cache, in the
            layer that was asked for: `[positions, kv_heads * head_dim]` each.
        row_bytes: bytes of the results of a row.
    """

    epsilon: float
    passes: list[list[tuple[int, int, int]]] = field(default_factory=list)
    digests: dict[RowKey, dict[Place, bytes]] = field(default_factory=dict)
    values: dict[RowKey, dict[Place, Float[Array, "_"]]] = field(default_factory=dict)
    sources: dict[tuple[int, Place], Source] = field(default_factory=dict)
    read: dict[RowKey, tuple[Float[Array, "positions _"], Float[Array, "positions _"]]] = field(default_factory=dict)
    row_bytes: int = 0

    def begin_pass(self, parts: list[tuple[int, int, int]]) -> int:
        """Add a pass, and return its number."""
        self.passes.append(parts)
        return len(self.passes) - 1

    def add(self, key: RowKey, place: Place, vector: Float[Array, "_"], keep: bool) -> None:
        """Add one result: its digest, and the vector if it is to be kept."""
        self.digests.setdefault(key, {})[place] = digest(vector)
        if keep:
            self.values.setdefault(key, {})[place] = vector.copy()

    def merge(self, other: "Observed") -> None:
        """Add the results that another observation of the same run has."""
        for key, digests in other.digests.items():
            self.digests.setdefault(key, {}).update(digests)
        for key, values in other.values.items():
            self.values.setdefault(key, {}).update(values)
        self.sources |= other.sources
        self.row_bytes += other.row_bytes


def canonical(values: Array) -> Float[Array, "..."]:
    """Return the numbers in float64, in which equal numbers have equal bytes: -0.0 becomes 0.0, with one NaN."""
    exact = np.asarray(values, np.float64) + 0.0
    exact[np.isnan(exact)] = np.nan
    return exact


def digest(vector: Float[Array, "_"]) -> bytes:
    """Return 8 bytes that are equal for equal vectors. Two different vectors have equal ones once in 2**64 times."""
    return hashlib.blake2b(vector.tobytes(), digest_size=8).digest()
