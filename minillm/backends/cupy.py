"""The `cupy` backend: the same arithmetic on a GPU, with weights, caches and activations in its memory.

The naive twin of every method is the method of the same name in `plain`. A GPU computes a decode step faster than
Python can issue its operations. So the number of *launches* matters: each takes a few microseconds, no matter how
little it computes. A layer takes nine launches:

    norm, q k v, rope, attention with the append to the cache, output + residual,
    norm, gate and up, SwiGLU, down + residual

Token ids, positions and block tables are sent to the GPU in one copy, and only the logits come back. A decode step with
the shapes of an earlier step is replayed as a CUDA graph: one launch for the whole step. The kernels are in
`kernels.cu`.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.backends.cupy_batch import FEW_ROWS, DeviceBatch, device_batch, integers_of
from minillm.backends.kernels import THREADS
from minillm.backends.plain import Plain
from minillm.config import RopeParameters
from minillm.layers import rope_frequencies
from minillm.quantization import Bfloat16, Matrix, dequantize
from minillm.ragged_batch import RaggedBatch

WARPS, LARGEST_HEAD = 8, 256  # as in kernels.cu
STEPS_KEPT = 64  # shapes of steps whose graphs are kept
HALVES = ("float16", "bfloat16")  # for weights alone
QUERY_BYTES, WIDEST_BYTES = 256, 1024  # as in kernels.cu: rows of a query tile, widest head, times bytes of a number


class CuPy(Plain):
    """The backend that computes on a device: the one that CuPy uses, or the stand-in of a test."""

    name = "cupy"
    dtypes = ("float32", "float64", *HALVES)
    formats = ("float32", "bfloat16")
    int8_caches = False  # its kernels write and read keys and values as floats
    # A decode step of 1, 8 and 32 sequences on an H100: 1B parameters in float32, see docs/gpu.md.
    row_costs: Mapping[int, float] = {1: 1.0, 8: 1.57, 32: 2.83}
    bytes_per_s, seconds_per_layer = 2.9e12, 34e-6

    def __init__(self, device: Any = None) -> None:
        """Find the device.

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
        self._messages: dict[tuple[int, ...], Array] = {}  # for each shape, the array on the device for its integers
        self._steps: dict[tuple[int, ...], Any] = {}  # for each model and shape, (model, graph); None if it ran once

    def choose_dtype(self, dtype: str) -> np.dtype[Any]:
        """Set the dtype of the weights. With 16-bit weights, activations, sums and caches are float32."""
        self.stored, self.real = dtype, np.dtype("float64" if dtype == "float64" else "float32")
        return self.real

    def bytes_per_weight(self, dtype: str, weights: str) -> float:
        """Return 2 for float16 and bfloat16."""
        return 2 if dtype in HALVES else super().bytes_per_weight(dtype, weights)

    def array(self, values: Any, dtype: Any = None) -> Array:
        """Return an array on the device. An array that is already there is not moved."""
        if self.device.has(values):
            return values if dtype is None else values.astype(dtype, copy=False)
        return self.device.asarray(np.asarray(values, dtype))

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return zeros on the device, where all of their memory is allocated at once."""
        return self.device.zeros(shape, dtype)

    def to_host(self, x: Array) -> Array:
        """Wait until the device has computed the array, then copy it."""
        return self.device.to_host(x) if self.device.has(x) else x

    def free_memory(self) -> int | None:
        """Return the bytes that are free in the device's memory."""
        return int(self.device.free_memory())

    def prepare(self, parts: Sequence[Matrix]) -> Any:
        """Store the matrix as `[out, inner]`, the file's order: a column of the product reads one contiguous row."""
        arrays = [self._on_device(part) for part in parts]
        if len(arrays) == 1:
            return arrays[0]
        joined = self.device.empty((sum(map(len, arrays)), arrays[0].shape[1]), arrays[0].dtype)
        end = 0
        for array in arrays:
            joined[end : end + len(array)] = array
            end += len(array)
        return joined

    def _on_device(self, part: Matrix) -> Array:
        """Return the part on the device: bits of bfloat16, or floats in the dtype of weights."""
        if isinstance(part, Bfloat16) and self.real == np.float32:
            return self.device.asarray(part.bits)
        weight = self.array(dequantize(part), self.real)
        if self.stored not in HALVES:
            return weight
        narrow = self.device.empty(weight.shape, np.float16 if self.stored == "float16" else np.uint16)
        self._launch("narrow", weight, narrow, (-(-weight.size // THREADS),), [weight, narrow, weight.size])
        return narrow

    def prepare_embedding(self, embedding: Matrix) -> Any:
        """Return the table on the device."""
        return self._on_device(embedding)

    def embedding_of(self, head: Any) -> Any:
        """Return the head: it has the layout of the embedding."""
        return head

    def send(self, batch: RaggedBatch) -> RaggedBatch:
        """Send all integers of a step in one copy, including the addresses of the caches."""
        fields = integers_of(batch, QUERY_BYTES // self.real.itemsize)
        shape = tuple(len(field) for field in fields)
        kept_shape = shape if len(batch.tokens) <= FEW_ROWS else None
        return device_batch(batch, self._deliver(np.concatenate(fields), kept_shape), shape, kept_shape)

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """Launch the first step of a shape, capture the second as a graph, and replay the graph in later steps."""
        assert isinstance(batch, DeviceBatch), "the batch was not sent to the device"
        if batch.shape is None or model.streamed:  # a graph cannot read a file
            return compute(model, batch)
        key = (id(model), *batch.shape)
        if key not in self._steps:
            self._steps[key] = None
            return compute(model, batch)
        if self._steps[key] is None:  # the model is kept too: the graph needs its weights, and its id stays taken
            self._steps[key] = model, self.device.capture(partial(compute, model, batch))
        replay: Callable[[], Array] = self._steps[key][1]
        return replay()

    def _deliver(self, message: Int[Array, "numbers"], shape: tuple[int, ...] | None) -> Array:
        """Copy the message to the device: always to the same array for one shape, since a graph reads it there."""
        if shape is None:
            return self.device.asarray(message)
        if shape not in self._messages:
            if len(self._steps) >= STEPS_KEPT or len(self._messages) >= STEPS_KEPT:
                self._steps.clear()  # both are dropped together, because a graph reads the message of its shape
                self._messages.clear()
            self._messages[shape] = self.device.empty(message.shape, message.dtype)
        self.device.overwrite(self._messages[shape], message)
        return self._messages[shape]

    def embed(self, embedding: Any, tokens: Int[Array, "tokens"]) -> Float[Array, "tokens dim"]:
        """Return the embedding's row of each token."""
        tokens, dim = self.array(tokens), embedding.shape[1]
        x = self.device.empty((len(tokens), dim), self.real)
        self._launch("embed", x, embedding, (len(tokens),), [embedding, tokens, x, dim])
        return x

    def linear(self, x: Float[Array, "tokens inner"], weight: Any, bias: Any = None) -> Float[Array, "tokens out"]:
        """Return x @ weight.T (+ bias)."""
        out = self.device.empty((len(x), len(weight)), x.dtype)
        if self._few(x):
            return self._few_rows(x, weight, bias, None, out)
        if bias is not None:
            out[:] = bias
        return self._many_rows(x, weight, out, add=bias is not None)

    def add_linear(
        self, x: Float[Array, "tokens out"], h: Float[Array, "tokens inner"], weight: Any, bias: Any = None
    ) -> Float[Array, "tokens out"]:
        """Add the product and the bias to x, in place."""
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
        """Multiply with cuBLAS. It needs one dtype, so x is rounded to the dtype of the weights. Sums are float32."""
        if x.dtype != weight.dtype:
            x, wide = self.device.empty(x.shape, weight.dtype), x
            self._launch("narrow", wide, weight, (-(-x.size // THREADS),), [wide, x, x.size])
        self.device.multiply(x, weight, out, add)
        return out

    def rms_norm(self, x: Float[Array, "tokens dim"], weight: Array, eps: float) -> Float[Array, "tokens dim"]:
        """Return `layers.rms_norm`, in one launch."""
        out, (tokens, dim) = self.device.empty(x.shape, x.dtype), x.shape
        self._launch("rms_norm", x, x, (tokens,), [x, weight, out, dim, eps])
        return out

    def cos_sin(self, positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int) -> tuple[Array, Array]:
        """Return `layers.rope_cos_sin`. The angles are float64, and the result is rounded."""
        if (rope, head_dim) not in self._frequencies:
            self._frequencies[rope, head_dim] = self.device.asarray(rope_frequencies(rope, head_dim))
        positions, half = self.array(positions), head_dim // 2
        cosine, sine = (self.device.empty((len(positions), 1, half), self.real) for _ in range(2))
        frequencies = self._frequencies[rope, head_dim]
        self._launch("cos_sin", cosine, cosine, (len(positions),), [positions, frequencies, cosine, sine, half])
        return cosine, sine

    def rope(self, x: Float[Array, "tokens heads head_dim"], cos_sin: tuple[Array, Array]) -> Array:
        """Return `layers.apply_rope`, in one launch."""
        return self._rope(x, None, 0.0, cos_sin)

    def norm_rope(self, x: Float[Array, "tokens heads head_dim"], weight: Array, eps: float, cos_sin: Any) -> Array:
        """Normalise each head, then rotate it, both in one launch."""
        return self._rope(x, weight, eps, cos_sin)

    def _rope(self, x: Array, weight: Array | None, eps: float, cos_sin: tuple[Array, Array]) -> Array:
        (tokens, heads, head_dim), out = x.shape, self.device.empty(x.shape, x.dtype)
        self._launch("rope", x, x, (tokens,), [x, weight, *cos_sin, out, heads, _stride(x), head_dim // 2, eps])
        return out

    def swiglu(self, gate: Float[Array, "tokens inner"], up: Float[Array, "tokens inner"]) -> Array:
        """Return `layers.swiglu`, in one launch."""
        (tokens, inner), out = gate.shape, self.device.empty(gate.shape, gate.dtype)
        assert _stride(gate) == _stride(up), "gate and up are columns of the same rows"
        self._launch("swiglu", gate, gate, (tokens, -(-inner // THREADS)), [gate, up, out, _stride(gate), inner])
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
        """Write and attend in one launch for the whole ragged batch, which `send` returned."""
        assert isinstance(batch, DeviceBatch), "the batch was not sent to the device"
        (tokens, heads, head_dim), kv_heads = q.shape, k.shape[1]
        if head_dim > LARGEST_HEAD:
            raise ValueError(f"head_dim is {head_dim}; the cupy backend supports at most {LARGEST_HEAD}")
        out = self.device.empty((tokens, heads * head_dim), q.dtype)
        arrays = [q, k, v, out, _stride(q), _stride(k), _stride(v), batch.owners, batch.sequences, batch.tables]
        numbers = [layer, kv_heads, head_dim, window or 0, head_dim**-0.5]
        if len(batch.query_tiles) and head_dim * q.itemsize <= WIDEST_BYTES:
            grid = (len(batch.query_tiles), heads)
            self._launch("attention_in_tiles", q, q, grid, [*arrays, batch.query_tiles, *numbers])
        else:
            self._launch("attention", q, q, (tokens, heads), [*arrays, *numbers])
        return out

    def _launch(self, name: str, real: Array, stored: Array, grid: tuple[int, ...], arguments: list[Any]) -> None:
        """Launch a kernel. Its dtypes of numbers and of weights are those of the arrays `real` and `stored`."""
        if all(grid):
            kinds = str(real.dtype), {"uint16": "bfloat16"}.get(str(stored.dtype), str(stored.dtype))
            self.device.launch(name, kinds, grid, arguments)


def _stride(x: Array) -> int:
    """Return the distance from the start of one row to the start of the next, in numbers. Rows are contiguous."""
    return int(x.strides[0] // x.itemsize)
