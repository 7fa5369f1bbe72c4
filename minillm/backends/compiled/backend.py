"""Compiled: the backend whose hot loops are compiled by numba. Its naive twin is `plain`, method by method.

Each method calls one kernel, on all threads. `run` is the quick way through a pass: it calls one kernel for all layers
(`step.py`). That kernel is made of the same pieces, so it gives the bits that the methods give one after another. A
pass goes through the methods if `step.py` cannot run it: if the layers' matrices have several formats, as in some GGUF
files, or if a cache stores its keys and values in another dtype.

    load    prepare    rows of the file -> tiles, in the format in which they are stored
    pass    run        plan the attention (plan.py), embed, all layers in one call, norm, head
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.attention import Segments
from minillm.backends.compiled import rows
from minillm.backends.compiled.attention import NO_WINDOW, attention
from minillm.backends.compiled.compiling import check_processor
from minillm.backends.compiled.packed import Packed, pack
from minillm.backends.compiled.plan import Plan, plan
from minillm.backends.compiled.product import product
from minillm.backends.compiled.sharing import new_counters, share
from minillm.backends.compiled.step import FIELDS, PHASES, layers_step
from minillm.backends.plain import Plain
from minillm.quantization import Matrix, dequantize
from minillm.ragged_batch import CacheLayout, RaggedBatch


class Layers(NamedTuple):
    """The layers of a model as `step.py` reads them.

    Attributes:
        fields: `[layers, 20]`, addresses of arrays and windows.
        numbers, scales, minimums: empty arrays with the dtypes of the weights.
        depths: `[3]`, the length of the second axis of the numbers of (q k v, gate and up), output, down.
    """

    fields: Array
    numbers: Array
    scales: Array
    minimums: Array
    depths: Array


class Compiled(Plain):
    """The backend of compiled loops."""

    name = "compiled"
    row_costs: Mapping[int, float] = {1: 1.0, 2: 1.2, 4: 1.4, 8: 2.0, 16: 3.0}
    bytes_per_s, seconds_per_layer = 20e9, 10e-6

    def __init__(self) -> None:
        """Check the processor.

        Raises:
            OSError: it lacks instructions that every x86 processor has had since 2013.
        """
        check_processor()
        self.real = np.dtype(np.float32)
        self._known: tuple[Any, Layers | None] = (None, None)  # the last model that ran, and its layers

    def choose_dtype(self, dtype: str) -> np.dtype[Any]:
        """Set the dtype of activations. With float64, weights are float64 too."""
        self.real = super().choose_dtype(dtype)
        return self.real

    def bytes_per_weight(self, dtype: str, weights: str) -> float:
        """Return 8 for float64, whose kernels read float64 weights only."""
        return 8 if dtype == "float64" else super().bytes_per_weight(dtype, weights)

    def prepare(self, parts: Sequence[Matrix]) -> Any:
        """Store the matrix in tiles. Parts of several formats become a list of matrices."""
        if self.real == np.float64:
            parts = [dequantize(part).astype(np.float64, copy=False) for part in parts]
        matrices = [pack(list(same)) for _, same in groupby(parts, type)]
        return matrices[0] if len(matrices) == 1 else matrices

    def prepare_embedding(self, embedding: Matrix) -> Any:
        """Store the table in tiles, as `prepare`."""
        return self.prepare([embedding])

    def tie(self, embedding: Matrix) -> tuple[Any, Any]:
        """Store one matrix for both."""
        head = self.prepare([embedding])
        return head, head

    def embed(self, embedding: Any, tokens: Int[Array, "tokens"]) -> Float[Array, "tokens dim"]:
        """Return the embedding's row of each token: a lane of its tile."""
        x = np.empty((len(tokens), embedding.shape[1]), self.real)
        share(rows.embed, np.asarray(tokens, np.int64), *embedding.arrays, x, new_counters())
        return x

    def linear(self, x: Float[Array, "tokens inner"], weight: Any, bias: Any = None) -> Float[Array, "tokens out"]:
        """Return x @ weight (+ bias)."""
        if isinstance(weight, Packed):
            return _multiply(x, weight, bias, None)
        product = np.concatenate([_multiply(x, matrix, None, None) for matrix in weight], axis=1)
        return product if bias is None else product + bias

    def add_linear(
        self, x: Float[Array, "tokens out"], h: Float[Array, "tokens inner"], weight: Any, bias: Any = None
    ) -> Float[Array, "tokens out"]:
        """Add the product and the bias to x, in place."""
        if isinstance(weight, Packed):
            return _multiply(h, weight, bias, x)
        return x + self.linear(h, weight, bias)

    def rms_norm(self, x: Float[Array, "tokens dim"], weight: Array, eps: float) -> Float[Array, "tokens dim"]:
        """Return `layers.rms_norm`."""
        out = np.empty_like(x, order="C")
        share(rows.rms_norm, np.ascontiguousarray(x), weight, eps, out, new_counters())
        return out

    def rope(self, x: Float[Array, "tokens heads head_dim"], cos_sin: tuple[Array, Array]) -> Array:
        """Return `layers.apply_rope`."""
        return self.norm_rope(x, np.empty((0, 0), x.dtype), 0.0, cos_sin)

    def norm_rope(
        self, x: Float[Array, "tokens heads head_dim"], weight: Array, eps: float, cos_sin: tuple[Array, Array]
    ) -> Array:
        """Normalise each head on its own, then rotate it."""
        x = x.copy(order="C")
        share(rows.rotate, x, weight.reshape(-1), eps, *(_flat(angles) for angles in cos_sin), new_counters())
        return x

    def swiglu(self, gate: Float[Array, "tokens inner"], up: Float[Array, "tokens inner"]) -> Array:
        """Return `layers.swiglu`."""
        out = np.empty_like(gate, order="C")
        share(rows.swiglu, np.concatenate([gate, up], axis=1), out, new_counters())
        return out

    def attention(
        self,
        q: Float[Array, "tokens heads head_dim"],
        k: Float[Array, "tokens kv_heads head_dim"],
        v: Float[Array, "tokens kv_heads head_dim"],
        batch: RaggedBatch,
        layer: int,
        window: int | None,
    ) -> Float[Array, "tokens heads*head_dim"]:
        """Write the new keys and values, then attend with all queries of the batch in one kernel."""
        layouts = self._layouts(batch)
        if layouts is None:
            return super().attention(q, k, v, batch, layer, window)
        for span, cache in zip(batch.spans, batch.caches, strict=True):
            cache.write(layer, k[span], v[span])
        return _attend(q, _plan(batch, layouts, q.shape[1], k.shape[1]), layer, k.shape[1], window)

    def attend(
        self, q: Float[Array, "queries heads head_dim"], segments: Segments, start: int, window: int | None
    ) -> Float[Array, "queries heads*head_dim"]:
        """Attend over keys and values that are not in a cache of this dtype: joined, they look like one."""
        keys, values = (np.concatenate(same, axis=1)[None].astype(self.real) for same in zip(*segments, strict=True))
        layout = CacheLayout(keys, values, keys.shape[2], [0])
        return _attend(q, plan([layout], [len(q)], [start], q.shape[1], keys.shape[1]), 0, keys.shape[1], window)

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """Return compute(model, batch), which is all layers and the head, with one call for the layers."""
        layers, layouts = self._layers_of(model), self._layouts(batch)
        if layers is None or layouts is None:
            return compute(model, batch)
        x = self._through_layers(model, batch, layers, layouts)[batch.logit_indices]
        return self.linear(self.rms_norm(x, model.final_norm, model.config.rms_norm_eps), model.head)

    def _through_layers(
        self, model: Any, batch: RaggedBatch, layers: Layers, layouts: Sequence[CacheLayout]
    ) -> Float[Array, "tokens dim"]:
        config, tokens = model.config, len(batch.tokens)
        heads, kv_heads, d = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        cosine, sine = (_flat(angles.astype(self.real)) for angles in self.cos_sin(batch.positions, config.rope, d))
        x = self.embed(model.embedding, batch.tokens)
        shapes = [(config.hidden_size,), (heads + 2 * kv_heads, d), (heads, d)]
        shapes += [(2 * config.intermediate_size,), (config.intermediate_size,)]
        room = [np.empty((tokens, *shape), self.real) for shape in shapes]
        planned = _plan(batch, layouts, heads, kv_heads)
        sizes = heads, kv_heads, float(config.rms_norm_eps)
        count = len(layers.fields)
        # fmt: off
        share(layers_step, 0, count, *layers, *sizes, x, *room, cosine, sine, *planned, new_counters(count * PHASES))
        # fmt: on
        return x

    def _layouts(self, batch: RaggedBatch) -> list[CacheLayout] | None:
        """Return where the caches are; None if one stores another dtype than that of activations."""
        layouts = [cache.layout() for cache in batch.caches]
        return layouts if all(layout.keys.dtype == self.real for layout in layouts) else None

    def _layers_of(self, model: Any) -> Layers | None:
        if self._known[0] is not model:
            self._known = model, _layers(model)
        return self._known[1]


def _multiply(x: Array, weight: Packed, bias: Array | None, residual: Array | None) -> Array:
    """Return x @ weight (+ bias), or add it to the residual, in place."""
    out = np.empty((len(x), weight.shape[0]), x.dtype) if residual is None else residual
    bias = np.empty(0, x.dtype) if bias is None else bias
    added = np.empty((0, 0), x.dtype) if residual is None else residual
    share(product, np.ascontiguousarray(x), *weight.arrays, bias, added, out, new_counters())
    return out


def _attend(q: Array, planned: Plan, layer: int, kv_heads: int, window: int | None) -> Array:
    out = np.empty(q.shape, q.dtype)
    tables = planned.sequences, planned.tables, planned.tasks, planned.merges, planned.partials
    seen = NO_WINDOW if window is None else window
    share(attention, np.ascontiguousarray(q), layer, kv_heads, seen, *tables, out, new_counters(2))
    return out.reshape(len(q), -1)


def _plan(batch: RaggedBatch, layouts: Sequence[CacheLayout], heads: int, kv_heads: int) -> Plan:
    new = [span.stop - span.start for span in batch.spans]
    return plan(layouts, new, [cache.length for cache in batch.caches], heads, kv_heads)


def _flat(angles: Float[Array, "tokens 1 half"]) -> Float[Array, "tokens half"]:
    return np.ascontiguousarray(angles[:, 0])


def _layers(model: Any) -> Layers | None:
    """Return the addresses of a model's layers; None if their matrices have several formats."""
    layers = list(model.layers())
    matrices = [matrix for layer in layers for matrix in (layer.qkv, layer.output, layer.gate_up, layer.down)]
    kinds = {tuple(array.dtype for array in m.arrays) if isinstance(m, Packed) else None for m in matrices}
    if len(kinds) > 1 or None in kinds:
        return None
    windows = model.config.sliding_windows
    fields = [_fields(layer, window) for layer, window in zip(layers, windows, strict=True)]
    depths = [matrix.numbers.shape[1] for matrix in (layers[0].qkv, layers[0].output, layers[0].down)]
    empty = [np.empty((0, 0, 0), dtype) for dtype in next(iter(kinds)) or ()]
    return Layers(np.array(fields, np.int64), *empty, np.array(depths, np.int64))


def _fields(layer: Any, window: int | None) -> list[int]:
    """Return one line of `Layers.fields`, in the order that step.py says."""
    matrices = [
        (layer.qkv, layer.qkv_bias),
        (layer.output, layer.output_bias),
        (layer.gate_up, layer.gate_up_bias),
        (layer.down, layer.down_bias),
    ]
    arrays = [array for matrix, bias in matrices for array in (*matrix.arrays, bias)]
    arrays += [layer.attention_norm, layer.mlp_norm, layer.qk_norm]
    line = [0 if array is None or not array.size else array.ctypes.data for array in arrays]
    line.append(NO_WINDOW if window is None else window)
    assert len(line) == FIELDS
    return line
