"""Compiled: the backend whose hot loops are compiled by numba. Its naive twin is `plain`, method by method.

Each method calls one kernel, on all threads. `run` is the quick way through a pass: it calls one kernel for all layers
(`step.py`). That kernel is made of the same pieces, so it gives the bits that the methods give one after another. A
pass goes through the methods if the layers' matrices have several formats, as in some GGUF files, if the layers are
streamed, and for a class that is derived from this one: its methods may differ.

    load    prepare    rows of the file -> tiles, in the format in which they are stored
    pass    run        plan the attention (plan.py), embed, all layers in one call, norm, head
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.attention import Segments
from minillm.backends.compiled import rows
from minillm.backends.compiled.attention import NO_WINDOW, attention
from minillm.backends.compiled.compiling import check_compiler
from minillm.backends.compiled.packed import Packed, pack, pack_in_turn
from minillm.backends.compiled.plan import LENGTH, Plan, address, check_head_dim, plan
from minillm.backends.compiled.product import product
from minillm.backends.compiled.rounded import rounded
from minillm.backends.compiled.sharing import new_counters, share
from minillm.backends.compiled.step import FIELDS, PHASES, layers_step
from minillm.backends.plain import Plain
from minillm.config import ModelConfig
from minillm.estimate.parameters import layers_parameters
from minillm.quantization import Matrix, Quantized, dequantize
from minillm.ragged_batch import CacheLayout, RaggedBatch

# Multiply-adds of one call, unless a single layer takes more: 0.05 to 0.5 seconds on a processor with few cores.
# Ctrl-C waits for a call. A layer of a model with 7 billion weights, over 512 rows, is 1e11: seconds.
MOST_WORK = 5e9


class Layers(NamedTuple):
    """The layers of a model as `step.py` reads them.

    Attributes:
        fields: `[layers, 20]`, addresses of arrays and windows.
        weights: empty arrays with the dtypes of numbers, scales and minimums.
        depths: `[3]`, the length of the second axis of the numbers of (q k v, gate and up), output, down.
    """

    fields: Array
    weights: tuple[Array, Array, Array]
    depths: Array


class Compiled(Plain):
    """The backend of compiled loops."""

    name, keeps_quantized = "compiled", False
    row_costs: Mapping[int, float] = {1: 1.0, 4: 1.28, 8: 1.66, 16: 2.07}  # in float32, docs/performance.md
    quantised_row_costs: Mapping[int, float] = {1: 1.0, 4: 1.52, 8: 2.17, 16: 3.17}  # means of three formats
    bytes_per_s, seconds_per_layer = 20e9, 10e-6

    def __init__(self) -> None:
        """Check numba and the processor.

        Raises:
            OSError: numba is told not to compile, or the processor is too old.
        """
        check_compiler()
        self.real = np.dtype(np.float32)
        self._chosen: str | None = None
        self._known: dict[int, tuple[ref[Any], Layers | None]] = {}  # models that ran, by id, and their layers

    def choose_dtype(self, dtype: str) -> np.dtype[Any]:
        """Set the dtype of activations, once. With float64, weights are float64 too.

        Raises:
            ValueError: a model with another dtype was loaded with this object, which computes in one.
        """
        if self._chosen not in (None, dtype):
            raise ValueError(
                f"dtype is {dtype!r}; this backend object computes in {self._chosen}; use another: backend='compiled'"
            )
        self._chosen, self.real = dtype, super().choose_dtype(dtype)
        return self.real

    def check_config(self, config: ModelConfig) -> None:
        """Refuse heads that are too large."""
        check_head_dim(config.head_dim)

    def bytes_per_weight(self, dtype: str, weights: str) -> float:
        """Return 8 for float64, whose kernels read float64 weights only."""
        return 8 if dtype == "float64" else super().bytes_per_weight(dtype, weights)

    def row_costs_in(self, weights: str) -> Mapping[int, float]:
        """Return the measured costs. In fewer bits one row is computed twice as fast, but many are not."""
        return self.row_costs if weights == "float32" else self.quantised_row_costs

    def quantize(self, values: Float[Array, "out in"], weights: str) -> Quantized:
        """Round a matrix, to the same bits as `quantization.quantize`."""
        return rounded(values, weights)

    def prepare(self, parts: Sequence[Matrix]) -> Any:
        """Store the matrix in tiles. Parts of several formats become a list of matrices."""
        if self.real == np.float64:
            parts = [dequantize(part).astype(np.float64, copy=False) for part in parts]
        matrices = [pack(list(same)) for _, same in groupby(parts, type)]
        return matrices[0] if len(matrices) == 1 else matrices

    def prepare_tiles(self, out: int, tiles: Iterable[Matrix]) -> Packed:
        """Store one matrix in the same way, a few rows at a time."""
        if self.real == np.float64:
            tiles = (dequantize(rows).astype(np.float64, copy=False) for rows in tiles)
        return pack_in_turn(out, tiles)

    def prepare_embedding(self, embedding: Matrix) -> Any:
        """Store the table in tiles, as `prepare`."""
        return self.prepare([embedding])

    def embedding_of(self, head: Any) -> Any:
        """Return the head: one matrix for both."""
        return head

    def embed(self, embedding: Any, tokens: Int[Array, "tokens"]) -> Float[Array, "tokens dim"]:
        """Return the embedding's row of each token: a lane of its tile."""
        x = np.empty((len(tokens), embedding.shape[1]), self.real)
        share(x.size, rows.embed, np.asarray(tokens, np.int64), *embedding.arrays, x, new_counters())
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
        share(x.size, rows.rms_norm, np.ascontiguousarray(x), weight, eps, out, new_counters())
        return out

    def rope(self, x: Float[Array, "tokens heads head_dim"], cos_sin: tuple[Array, Array]) -> Array:
        """Return `layers.apply_rope`."""
        return self.norm_rope(x, np.empty((0, 0), x.dtype), 0.0, cos_sin)

    def norm_rope(
        self, x: Float[Array, "tokens heads head_dim"], weight: Array, eps: float, cos_sin: tuple[Array, Array]
    ) -> Array:
        """Normalise each head on its own, then rotate it."""
        x = x.copy(order="C")
        cosine, sine = (_flat(angles) for angles in cos_sin)
        share(x.size, rows.rotate, x, weight.reshape(-1), eps, cosine, sine, new_counters())
        return x

    def swiglu(self, gate: Float[Array, "tokens inner"], up: Float[Array, "tokens inner"]) -> Array:
        """Return `layers.swiglu`."""
        out = np.empty_like(gate, order="C")
        share(8 * out.size, rows.swiglu, np.concatenate([gate, up], axis=1), out, new_counters())
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
        for span, cache in zip(batch.spans, batch.caches, strict=True):
            cache.write(layer, k[span], v[span])
        return _attend(q, _plan(batch, q.shape[1], k.shape[1], q.dtype), layer, k.shape[1], window)

    def attend(
        self, q: Float[Array, "queries heads head_dim"], segments: Segments, start: int, window: int | None
    ) -> Float[Array, "queries heads*head_dim"]:
        """Attend over keys and values that are not in a cache: joined, they look like one."""
        keys, values = (np.concatenate(same, axis=1)[None].astype(q.dtype) for same in zip(*segments, strict=True))
        layout, kv_heads = CacheLayout(keys, values, keys.shape[2], [0]), keys.shape[1]
        return _attend(q, plan([layout], [len(q)], [start], q.shape[1], kv_heads, q.dtype), 0, kv_heads, window)

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """Return compute(model, batch), which is all layers and the head, with one call for the layers."""
        layers = self._layers_of(model) if type(self) is Compiled and not model.streamed else None
        if layers is None:
            return compute(model, batch)
        x = self._through_layers(model, batch, layers)[batch.logit_indices]
        return self.linear(self.rms_norm(x, model.final_norm, model.config.rms_norm_eps), model.head)

    def _through_layers(self, model: Any, batch: RaggedBatch, layers: Layers) -> Float[Array, "tokens dim"]:
        """Run the layers in as many calls as it takes to hear Ctrl-C between them."""
        config, tokens = model.config, len(batch.tokens)
        heads, kv_heads, d = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        cosine, sine = (_flat(angles.astype(self.real)) for angles in self.cos_sin(batch.positions, config.rope, d))
        x = self.embed(model.embedding, batch.tokens)
        shapes = [(config.hidden_size,), (heads + 2 * kv_heads, d), (heads, d)]
        shapes += [(2 * config.intermediate_size,), (config.intermediate_size,)]
        room = [np.empty((tokens, *shape), self.real) for shape in shapes]
        sizes, planned = (heads, kv_heads, float(config.rms_norm_eps)), _plan(batch, heads, kv_heads, self.real)
        arguments = tuple(layers), sizes, x, tuple(room), (cosine, sine), tuple(planned)
        work = layers_parameters(config) / len(layers.fields) * tokens + 2 * heads * d * float(batch.positions.sum())
        count = max(1, int(MOST_WORK / work))
        for first in range(0, len(layers.fields), count):
            end = min(len(layers.fields), first + count)
            counters = new_counters((end - first) * PHASES)
            share((end - first) * work, layers_step, first, end, *arguments, counters)
        return x

    def _layers_of(self, model: Any) -> Layers | None:
        """Return the model's layers, read once. A draft model may share this backend with its target."""
        known = self._known.get(id(model))
        if known is None or known[0]() is not model:  # another model had this id before
            known = self._known[id(model)] = ref(model), _layers(model)
        return known[1]


def _multiply(x: Array, weight: Packed, bias: Array | None, residual: Array | None) -> Array:
    """Return x @ weight (+ bias), or add it to the residual, in place."""
    out = np.empty((len(x), weight.shape[0]), x.dtype) if residual is None else residual
    bias = np.empty(0, x.dtype) if bias is None else bias
    added = np.empty((0, 0), x.dtype) if residual is None else residual
    share(x.size * weight.shape[0], product, np.ascontiguousarray(x), *weight.arrays, bias, added, out, new_counters())
    return out


def _attend(q: Array, planned: Plan, layer: int, kv_heads: int, window: int | None) -> Array:
    out = np.empty(q.shape, q.dtype)
    seen = NO_WINDOW if window is None else window
    work = q.size * int(planned.sequences[:, LENGTH].max() + len(q))
    share(work, attention, np.ascontiguousarray(q), layer, kv_heads, seen, tuple(planned), out, new_counters(2))
    return out.reshape(len(q), -1)


def _plan(batch: RaggedBatch, heads: int, kv_heads: int, dtype: np.dtype[Any]) -> Plan:
    layouts, new = [cache.layout() for cache in batch.caches], [span.stop - span.start for span in batch.spans]
    return plan(layouts, new, [cache.length for cache in batch.caches], heads, kv_heads, dtype)


def _flat(angles: Float[Array, "tokens 1 half"]) -> Float[Array, "tokens half"]:
    return np.ascontiguousarray(angles[:, 0])


def _layers(model: Any) -> Layers | None:
    """Return the addresses of a model's layers; None if their matrices have several formats.

    The arrays stay in memory, since the model does.
    """
    layers = list(model.layers())
    matrices = [matrix for layer in layers for matrix in (layer.qkv, layer.output, layer.gate_up, layer.down)]
    kinds = {tuple(array.dtype for array in m.arrays) if isinstance(m, Packed) else None for m in matrices}
    if len(kinds) > 1 or None in kinds:
        return None
    windows = model.config.sliding_windows
    fields = [_fields(layer, window) for layer, window in zip(layers, windows, strict=True)]
    depths = [matrix.numbers.shape[1] for matrix in (layers[0].qkv, layers[0].output, layers[0].down)]
    numbers, scales, minimums = (np.empty((0, 0, 0), dtype) for dtype in next(iter(kinds)) or ())
    return Layers(np.array(fields, np.int64), (numbers, scales, minimums), np.array(depths, np.int64))


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
    line = [address(array) for array in arrays]
    line.append(NO_WINDOW if window is None else window)
    assert len(line) == FIELDS
    return line
