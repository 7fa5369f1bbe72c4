"""Observer: see the result of every operation of a forward pass, by wrapping the methods of the model's backend.

The forward pass (transformer.py) asks the backend for one operation after another, and asks the model for its layers.
So a copy of the model with a copy of its backend sees all results, and knows which layer they belong to. The model
itself is not changed. An observed pass runs on one thread, and on the compiled backend method by method.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.backends.plain import Plain
from minillm.bisection.observed import (
    AFTER_LAYERS,
    BEFORE_LAYERS,
    NOTHING,
    OPERATIONS,
    Observed,
    Place,
    RowKey,
    Wanted,
    canonical,
)
from minillm.bisection.replay import Part
from minillm.bisection.sources import returns_watched, source_of
from minillm.config import ModelConfig
from minillm.model import LayerWeights, Model
from minillm.ragged_batch import RaggedBatch

RESULTS = {  # for each method of a backend: what its first call in a layer returns, and its second
    "embed": [["embedding"]],
    "rms_norm": [["attention norm"], ["MLP norm"]],
    "linear": [["query", "key", "value"], ["gate", "up"]],
    "rope": [["rotated query", "rotated key"]],
    "norm_rope": [["rotated query", "rotated key"]],
    "attention": [["attention"]],
    "add_linear": [["attention output"], ["down"]],
    "swiglu": [["swiglu"]],
    "logits": [["logits"]],
}
OF_LAST_ROWS = ("final norm", "logits", "logits as run")  # computed for the last row of each sequence


class Observer:
    """Records the results of all passes of one run.

    Attributes:
        observed: the results so far.
        wanted: what else than digests is kept.
    """

    def __init__(self, model: Model, wanted: Wanted = NOTHING) -> None:
        self.observed, self.wanted = Observed(epsilon_of(model)), wanted
        self._config = model.config
        self._rows: list[RowKey | None] = []  # of the pass that runs; None for a row that does not count
        self._last_rows: list[RowKey | None] = []  # of each sequence
        self._layer = BEFORE_LAYERS
        self._calls = Counter[str]()  # of each method, in this layer
        self._bytes = 0

    def begin_pass(self, parts: Sequence[Part]) -> None:
        """Say which rows the next pass runs."""
        step = self.observed.begin_pass(
            [(part.sequence, part.first, len(part.tokens)) for part in parts if part.sequence is not None]
        )
        by_part = [rows_of(part, step) for part in parts]
        self._rows = [key for rows in by_part for key in rows]
        self._last_rows = [rows[-1] for rows in by_part]
        self.enter(BEFORE_LAYERS)
        self._bytes = 0

    def enter(self, layer: int) -> None:
        """Say which layer runs from now on."""
        self._layer = layer
        self._calls.clear()

    def call(self, name: str, ops: Plain, *args: Any, **options: Any) -> Any:
        """Call a method of the backend, record what it returns, and return it."""
        keeping = not self.wanted.rows.isdisjoint(self._rows)
        with returns_watched(keeping) as returned:
            result = getattr(ops, name)(*args, **options)
        operations = self._operations(name)
        self.record(operations, ops.to_host(result))
        if keeping and name == "attention" and self._layer == self.wanted.cache_layer:
            self._read_caches(ops, args[3])
        if keeping:
            source, step = source_of(returned, result), len(self.observed.passes) - 1
            self.observed.sources |= {(step, self._place(operation)): source for operation in operations}
        return result

    def record(self, operations: Sequence[str], result: Array) -> None:
        """Record the rows of a result. Its columns are divided among the operations."""
        if not operations:
            return
        rows = self._last_rows if operations[0] in OF_LAST_ROWS else self._rows
        flat = canonical(result).reshape(len(result), -1)
        for operation, columns in zip(operations, columns_of(operations, flat.shape[1], self._config), strict=True):
            for key, vector in zip(rows, np.ascontiguousarray(flat[:, columns]), strict=True):
                if key is not None:
                    self.observed.add(key, self._place(operation), vector, key in self.wanted.rows)
        self._bytes += flat.itemsize * flat.shape[1]
        self.observed.row_bytes = max(self.observed.row_bytes, self._bytes)

    def _read_caches(self, ops: Plain, batch: RaggedBatch) -> None:
        """Keep the keys and values up to each row that is wanted, as its cache has them."""
        for span, cache in zip(batch.spans, batch.caches, strict=True):
            wanted = [key for key in self._rows[span] if key in self.wanted.rows]
            if not wanted:
                continue
            segments = cache.segments(self._layer, cache.length + span.stop - span.start)
            keys, values = (
                np.concatenate([canonical(ops.to_host(part)) for part in parts], axis=1).swapaxes(0, 1)
                for parts in zip(*segments, strict=True)
            )  # [positions, kv_heads, head_dim] each
            for key in filter(None, wanted):
                seen = key.position + 1
                self.observed.read[key] = keys[:seen].reshape(seen, -1), values[:seen].reshape(seen, -1)

    def _operations(self, name: str) -> list[str]:
        """Return what this call of a method computes; nothing if it is one too many."""
        number = self._calls[name]
        self._calls[name] += 1
        if name == "rms_norm" and self._layer == AFTER_LAYERS:
            return ["final norm"]
        return RESULTS[name][number] if number < len(RESULTS[name]) else []

    def _place(self, operation: str) -> Place:
        return Place(self._layer, OPERATIONS.index(operation))


@dataclass(frozen=True, repr=False)
class ObservedModel(Model):
    """A model whose observer knows which layer runs."""

    observer: Observer | None = None

    def layers(self, first: int = 0, end: int | None = None) -> Iterator[LayerWeights]:
        """Yield the layers, and say so."""
        assert self.observer is not None
        for number, layer in enumerate(super().layers(first, end), first):
            self.observer.enter(number)
            yield layer
        self.observer.enter(AFTER_LAYERS)


def observed_model(model: Model, observer: Observer) -> ObservedModel:
    """Return a copy of the model that tells the observer. Its caches must be made for it."""
    ops = copy(model.ops)
    for name in RESULTS:
        setattr(ops, name, partial(observer.call, name, model.ops))
    setattr(ops, "run", partial(Plain.run, ops))  # noqa: B010  # mypy: a method
    values: dict[str, Any] = {field.name: getattr(model, field.name) for field in fields(Model)}
    return ObservedModel(**values | {"ops": ops}, observer=observer)


def rows_of(part: Part, step: int) -> list[RowKey | None]:
    """Return the key of each row; None for the rows of wrong tokens."""
    if part.sequence is None:
        return [None] * len(part.tokens)
    return [RowKey(step, part.sequence, part.first + n) for n in range(len(part.tokens))]


def columns_of(operations: Sequence[str], width: int, config: ModelConfig) -> list[slice]:
    """Return the columns of each operation in a result that has several side by side."""
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    parts = {1: [width], 2: [width // 2] * 2, 3: [heads * config.head_dim] + [kv_heads * config.head_dim] * 2}
    sizes = parts[len(operations)]
    if operations[0] == "rotated query":
        sizes = parts[3][:2]
    ends = np.cumsum([0, *sizes]).tolist()
    return [slice(begin, end) for begin, end in pairwise(ends)]


def epsilon_of(model: Model) -> float:
    """Return the relative rounding error of the model's dtype; bfloat16, which NumPy does not know, has 8 bits."""
    return float(np.finfo(model.dtype).eps) if model.dtype.kind == "f" else 2.0**-8
