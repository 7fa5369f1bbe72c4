"""The `cupy` backend: the same arithmetic on a GPU, with weights, caches and activations in its memory.

Every method has its readable twin in `plain`. A GPU computes a decode step faster than Python can say what to compute,
so what counts is how often it has to be told: a *launch* takes some microseconds, whatever it does. A layer is nine:

    norm, q k v, rope, attention with the append to the cache, output + residual,
    norm, gate and up, SwiGLU, down + residual

Token ids, positions and block tables go in together, in one copy, and only the logits come out. A decode step that has
the shapes of an earlier one is replayed as a CUDA graph: one launch for all. The kernels are in `kernels.cu`.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.backends.kernels import THREADS
from minillm.backends.plain import Plain
from minillm.config import RopeParameters
from minillm.layers import rope_frequencies
from minillm.ragged_batch import RaggedBatch

WARPS, LARGEST_HEAD = 8, 256  # as in kernels.cu
FEW_ROWS = 32  # so many rows are multiplied by our own kernel; for more cuBLAS is made
STEPS_KEPT = 64  # shapes of steps that are kept as graphs
HALVES = ("float16", "bfloat16")  # for weights alone
QUERY_BYTES, WIDEST_BYTES = 256, 1024  # of a tile, as in kernels.cu: a number of each of its rows; a head's numbers
TABLE_PADDING = 64  # block tables grow by so many entries, so that most steps have the shape of the one before


class DeviceSpans(list[slice]):
    """The rows of each sequence, and where its cache lies, for the kernel of attention.

    Attributes:
        owners: `[tokens]`, the sequence of each row.
        sequences: `[sequences, 8]`, see kernels.cu.
        tables: all block tables, end to end.
        tiles: the first row of every tile of a sequence; none where a step is mostly decoding.
        shape: what two steps must share for one to replay the other; None if there are too many rows.
    """

    owners: Array
    sequences: Array
    tables: Array
    tiles: Array
    shape: tuple[int, ...] | None


class CuPy(Plain):
    """Arrays on the device that is given, which is CuPy's own unless a test says otherwise."""

    name = "cupy"
    dtypes = ("float32", "float64", *HALVES)

    def __init__(self, device: Any = None) -> None:
        """Look for a device.

        Raises:
            OSError: CuPy is not installed, or it finds no device.
        """
        if device is None:
            from minillm.backends.cupy_device import CuPyDevice

            device = CuPyDevice()
        if not device.multiplies:
            install = "pip install nvidia-cublas-cu12 (nvidia-cublas for CUDA 13)"
            warnings.warn(f"cuBLAS was not found, so prefill is slow: {install}", stacklevel=4)
        self.device = device
        self.choose_dtype("float32")
        self._frequencies: dict[tuple[RopeParameters, int], Array] = {}
        self._messages: dict[tuple[int, ...], Array] = {}  # of each shape, where its numbers lie on the device
        self._steps: dict[tuple[int, ...], Any] = {}  # of each model and shape, it and a graph; None if it ran once

    def choose_dtype(self, dtype: str) -> np.dtype[Any]:
        """float16 and bfloat16 are for weights alone: activations, sums and caches are float32 then."""
        self.stored, self.real = dtype, np.dtype("float64" if dtype == "float64" else "float32")
        return self.real

    def stored_weights(self, dtype: str) -> tuple[str, int]:
        """See Plain."""
        return (dtype, 2) if dtype in HALVES else super().stored_weights(dtype)

    def array(self, values: Any, dtype: Any = None) -> Array:
        """On the device; what lies there already is not moved."""
        if self.device.has(values):
            return values if dtype is None else values.astype(dtype, copy=False)
        return self.device.asarray(np.asarray(values, dtype))

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """On the device, all of it at once."""
        return self.device.zeros(shape, dtype)

    def to_host(self, x: Array) -> Array:
        """Wait for the device, and copy."""
        return self.device.to_host(x) if self.device.has(x) else x

    def free_memory(self) -> int | None:
        """Bytes of the device's memory."""
        return int(self.device.free_memory())

    def prepare(self, weight: Float[Array, "inner out"]) -> Any:
        """`[out, inner]`, as files hold it: a column of the product reads one row, without a gap."""
        weight = weight.T if weight.T.flags.c_contiguous else weight.T.copy()
        if self.stored not in HALVES:
            return weight
        narrow = self.device.empty(weight.shape, np.float16 if self.stored == "float16" else np.uint16)
        self._launch("narrow", weight, narrow, (-(-weight.size // THREADS),), [weight, narrow, weight.size])
        return narrow

    def tie(self, embedding: Float[Array, "vocab dim"]) -> tuple[Any, Any]:
        """The head is stored as the embedding is: one array."""
        head = self.prepare(embedding.T)
        return head, head

    def send(self, batch: RaggedBatch) -> RaggedBatch:
        """All whole numbers of a step in one copy, with where the caches lie."""
        spans = DeviceSpans(batch.spans)
        owners = np.repeat(np.arange(len(spans)), [span.stop - span.start for span in spans])
        parts = [
            batch.tokens,
            batch.positions,
            batch.logit_indices,
            owners,
            *_where_caches_lie(batch),
            self._tiles(batch),
        ]
        shape = tuple(len(part) for part in parts)
        spans.shape = shape if len(batch.tokens) <= FEW_ROWS else None
        message = self._deliver(np.concatenate(parts), spans.shape)
        ends = [int(end) for end in np.cumsum(shape)]
        tokens, positions, logit_indices, spans.owners, spans.sequences, spans.tables, spans.tiles = (
            message[end - size : end] for end, size in zip(ends, shape, strict=True)
        )
        return replace(batch, tokens=tokens, positions=positions, logit_indices=logit_indices, spans=spans)

    def _tiles(self, batch: RaggedBatch) -> Int[Array, "tiles"]:
        """Where tiles begin, if sequences have more than a row or two: those of a tile read a key together."""
        if len(batch.tokens) <= max(FEW_ROWS, 2 * len(batch.spans)):
            return np.arange(0)
        queries = QUERY_BYTES // self.real.itemsize
        return np.concatenate([np.arange(span.start, span.stop, queries) for span in batch.spans])

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """The first step of a shape is launched; the second is captured as a graph on the way; later ones replay it."""
        if batch.spans.shape is None:  # type: ignore[attr-defined]
            return compute(model, batch)
        key = (id(model), *batch.spans.shape)  # type: ignore[attr-defined]
        if key not in self._steps:
            self._steps[key] = None
            return compute(model, batch)
        if self._steps[key] is None:  # kept with the model: its weights are needed, and no other can take its id
            self._steps[key] = model, self.device.capture(partial(compute, model, batch))
        replay: Callable[[], Array] = self._steps[key][1]
        return replay()

    def _deliver(self, message: Int[Array, "numbers"], shape: tuple[int, ...] | None) -> Array:
        if shape is None:
            return self.device.asarray(message)
        if shape not in self._messages:
            if len(self._steps) >= STEPS_KEPT or len(self._messages) >= STEPS_KEPT:
                self._steps.clear()  # together, since a graph reads the message of its shape
                self._messages.clear()
            self._messages[shape] = self.device.empty(message.shape, message.dtype)
        self.device.overwrite(self._messages[shape], message)
        return self._messages[shape]

    def embed(self, embedding: Any, tokens: Int[Array, "tokens"]) -> Float[Array, "tokens dim"]:
        """See Plain.embed."""
        tokens, dim = self.array(tokens), embedding.shape[1]
        x = self.device.empty((len(tokens), dim), self.real)
        self._launch("embed", x, embedding, (len(tokens),), [embedding, tokens, x, dim])
        return x

    def linear(self, x: Float[Array, "tokens inner"], weight: Any, bias: Any = None) -> Float[Array, "tokens out"]:
        """x @ weight.T (+ bias)."""
        out = self.device.empty((len(x), len(weight)), x.dtype)
        if self._few(x):
            return self._few_rows(x, weight, bias, None, out)
        if bias is not None:
            out[:] = bias
        return self._many_rows(x, weight, out, add=bias is not None)

    def add_linear(
        self, x: Float[Array, "tokens out"], h: Float[Array, "tokens inner"], weight: Any, bias: Any = None
    ) -> Float[Array, "tokens out"]:
        """The product is added to x where x lies."""
        if self._few(h):
            return self._few_rows(h, weight, bias, x, x)
        if bias is not None:
            x += bias
        return self._many_rows(h, weight, x, add=True)

    def _few(self, x: Array) -> bool:
        return len(x) <= FEW_ROWS or not self.device.multiplies

    def _few_rows(self, x: Array, weight: Any, bias: Any, residual: Any, out: Array) -> Array:
        (rows, inner), outs = x.shape, len(weight)
        name, together, columns = ("one_row", 1, 1) if rows == 1 else ("few_rows", 8, 2)  # as in kernels.cu
        grid = (-(-rows // together), -(-outs // (WARPS * columns)))  # rows first: they share weights in the L2 cache
        self._launch(name, x, weight, grid, [x, weight, bias, residual, out, rows, inner, outs])
        return out

    def _many_rows(self, x: Array, weight: Any, out: Array, add: bool) -> Array:
        """By cuBLAS, which multiplies numbers of one kind, so x is rounded to that of the weights; sums are float32."""
        if x.dtype != weight.dtype:
            x, wide = self.device.empty(x.shape, weight.dtype), x
            self._launch("narrow", wide, weight, (-(-x.size // THREADS),), [wide, x, x.size])
        self.device.multiply(x, weight, out, add)
        return out

    def rms_norm(self, x: Float[Array, "tokens dim"], weight: Array, eps: float) -> Float[Array, "tokens dim"]:
        """See layers.rms_norm."""
        out, (tokens, dim) = self.device.empty(x.shape, x.dtype), x.shape
        self._launch("rms_norm", x, x, (tokens,), [x, weight, out, dim, eps])
        return out

    def cos_sin(self, positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int) -> tuple[Array, Array]:
        """See layers.rope_cos_sin; the angles are float64, what is given is rounded."""
        if (rope, head_dim) not in self._frequencies:
            self._frequencies[rope, head_dim] = self.device.asarray(rope_frequencies(rope, head_dim))
        positions, half = self.array(positions), head_dim // 2
        cosine, sine = (self.device.empty((len(positions), 1, half), self.real) for _ in range(2))
        frequencies = self._frequencies[rope, head_dim]
        self._launch("cos_sin", cosine, cosine, (len(positions),), [positions, frequencies, cosine, sine, half])
        return cosine, sine

    def rope(self, x: Float[Array, "tokens heads head_dim"], cos_sin: tuple[Array, Array]) -> Array:
        """See layers.apply_rope."""
        return self._rope(x, None, 0.0, cos_sin)

    def norm_rope(self, x: Float[Array, "tokens heads head_dim"], weight: Array, eps: float, cos_sin: Any) -> Array:
        """See Plain.norm_rope: both in the launch of one."""
        return self._rope(x, weight, eps, cos_sin)

    def _rope(self, x: Array, weight: Array | None, eps: float, cos_sin: tuple[Array, Array]) -> Array:
        (tokens, heads, head_dim), out = x.shape, self.device.empty(x.shape, x.dtype)
        self._launch("rope", x, x, (tokens,), [x, weight, *cos_sin, out, heads, _stride(x), head_dim // 2, eps])
        return out

    def swiglu(self, gate: Float[Array, "tokens inner"], up: Float[Array, "tokens inner"]) -> Array:
        """See layers.swiglu."""
        (tokens, inner), out = gate.shape, self.device.empty(gate.shape, gate.dtype)
        assert _stride(gate) == _stride(up), "gate and up are parts of the same rows"
        self._launch("swiglu", gate, gate, (tokens, -(-inner // THREADS)), [gate, up, out, _stride(gate), inner])
        return out

    def attention(
        self,
        q: Float[Array, "tokens heads head_dim"],
        k: Float[Array, "tokens kv_heads head_dim"],
        v: Float[Array, "tokens kv_heads head_dim"],
        spans: Sequence[slice],
        caches: Sequence[Any],
        layer: int,
        window: int | None,
    ) -> Float[Array, "tokens heads*head_dim"]:
        """One launch for the whole ragged batch, whatever the caches; `spans` are those that `send` returned."""
        assert isinstance(spans, DeviceSpans), "the batch was not sent to the device"
        (tokens, heads, head_dim), kv_heads = q.shape, k.shape[1]
        if head_dim > LARGEST_HEAD:
            raise ValueError(f"heads have {head_dim} numbers; the cupy backend has room for {LARGEST_HEAD}")
        out = self.device.empty((tokens, heads * head_dim), q.dtype)
        arrays = [q, k, v, out, _stride(q), _stride(k), _stride(v), spans.owners, spans.sequences, spans.tables]
        numbers = [layer, kv_heads, head_dim, window or 0, head_dim**-0.5]
        if len(spans.tiles) and head_dim * q.itemsize <= WIDEST_BYTES:
            grid = (len(spans.tiles), heads)
            self._launch("attention_in_tiles", q, q, grid, [*arrays, spans.tiles, *numbers])
        else:
            self._launch("attention", q, q, (tokens, heads), [*arrays, *numbers])
        return out

    def _launch(self, name: str, real: Array, stored: Array, grid: tuple[int, ...], arguments: list[Any]) -> None:
        """Start a kernel; `real` and `stored` are arrays of the numbers and of the weights that it reads."""
        if all(grid):
            kinds = str(real.dtype), {"uint16": "bfloat16"}.get(str(stored.dtype), str(stored.dtype))
            self.device.launch(name, kinds, grid, arguments)


def _where_caches_lie(batch: RaggedBatch) -> tuple[Int[Array, "numbers"], Int[Array, "entries"]]:
    """For each sequence what kernels.cu calls a Sequence, end to end; and all block tables."""
    sequences: list[int] = []
    tables: list[int] = []
    for span, cache in zip(batch.spans, batch.caches, strict=True):
        blocks: Any = cache.layout()
        addresses = [blocks.keys.data.ptr, blocks.values.data.ptr]
        sequences += [*addresses, blocks.keys.shape[2], blocks.block_size, len(tables), cache.length, span.start]
        sequences.append(span.stop - span.start)
        tables += blocks.table
    tables += [0] * (-len(tables) % TABLE_PADDING)
    return np.array(sequences), np.array(tables)


def _stride(x: Array) -> int:
    """How many numbers lie between the beginnings of two rows, within which there are no gaps."""
    return int(x.strides[0] // x.itemsize)
