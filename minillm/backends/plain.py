"""Plain: the arithmetic of the forward pass in readable NumPy. This is the reference that every backend must equal.

A backend decides three things: how a weight matrix is stored (`prepare`, `prepare_tiles`, `prepare_embedding`), how it
is used (`linear`, `embed`), and how the queries of a ragged batch attend over their caches (`attention`). It also says
what a pass costs (`cost_of_rows`, `step_seconds`). Other backends are subclasses that override some of these methods. A
test compares each override with the method here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from minillm import attention, layers
from minillm.arrays import Array, Float, Int
from minillm.backends.blas_threads import threads_that_help
from minillm.config import ModelConfig, RopeParameters
from minillm.estimate.parameters import matrix_parameters
from minillm.quantization import (
    BYTES_PER_WEIGHT,
    FORMATS,
    Matrix,
    Quantized,
    dequantize,
    join_rows,
    multiply,
    quantize,
    stack,
)
from minillm.ragged_batch import RaggedBatch


class Plain:
    """The backend that computes each formula as it is written."""

    name = "plain"
    dtypes: tuple[str, ...] = ("float32", "float64")  # the values that `load(dtype=...)` accepts
    formats: tuple[str, ...] = (*FORMATS, "stored")  # the values that `load(weights=...)` accepts
    int8_caches = True  # whether it can attend over keys and values in int8
    skips_layers = True  # whether it can run a model without some of its layers
    head_is_embedding = True  # whether `embedding_of` shares the head's memory
    keeps_quantized = True  # whether `prepare` keeps quantised parts as they are
    # Time of a pass over n rows, divided by that over one row: smollm2 in float32 on two cores of an EPYC server.
    row_costs: Mapping[int, float] = {1: 1.0, 2: 1.53, 4: 2.13, 8: 2.52, 16: 2.97}

    # A decode step there: bytes of weights read per second, and seconds of a layer besides its products.
    bytes_per_s, seconds_per_layer = 20e9, 47e-6

    def choose_dtype(self, dtype: str) -> np.dtype[Any]:
        """Set the dtype of the weights, one of `dtypes`. Return the dtype of activations and caches."""
        return np.dtype(dtype)

    def check_config(self, config: ModelConfig) -> None:
        """Raise ValueError if this backend cannot run models of this shape. Called before weights are read."""

    def bytes_per_weight(self, dtype: str, weights: str) -> float:
        """Return the bytes of memory that a weight takes in this format; float32 stands for `dtype`."""
        return self.choose_dtype(dtype).itemsize if weights == "float32" else BYTES_PER_WEIGHT[weights]

    def array(self, values: Any, dtype: Any = None) -> Array:
        """Return the values as an array in the memory where this backend computes."""
        return np.asarray(values, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of zeros where this backend computes. Pages that are never touched take no memory."""
        return np.zeros(shape, dtype)

    def to_host(self, x: Array) -> Array:
        """Return the same numbers as a NumPy array."""
        return x

    def free_memory(self) -> int | None:
        """Return the bytes that are free where this backend stores its arrays, or None if that is not known."""
        return None

    def send(self, batch: RaggedBatch) -> RaggedBatch:
        """Return the batch with its arrays where this backend computes. Called once before each forward pass."""
        return batch

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """Return compute(model, batch). Between two decode steps only the numbers in `batch`
        differ, so a GPU backend can record one step and replay it."""
        with threads_that_help(model.config):
            return compute(model, batch)

    def row_costs_in(self, weights: str) -> Mapping[int, float]:
        """Return the costs of passes by their rows, for weights in this format."""
        return self.row_costs

    def cost_of_rows(self, rows: int, weights: str = "float32") -> float:
        """Return the cost of a forward pass of `rows` rows, in passes of one row, interpolated linearly in a table.

        Speculation uses it to decide how many draft tokens to verify: on a CPU three rows cost 1.83 passes, so two
        draft tokens pay if they give 0.83 tokens. It is a table and not the clock, so that a seed gives the same text
        on the same backend and kind of processor.
        """
        costs = self.row_costs_in(weights)
        most = max(costs)
        known = np.interp(min(rows, most), list(costs), list(costs.values()))
        return float(known * max(rows / most, 1.0))  # beyond the table in proportion

    def step_seconds(self, config: ModelConfig, weights: str) -> float:
        """Return the time of a decode step that the bytes of its matrices and the number of its layers suggest.

        Speculation compares a draft model with its target by it. Small models mostly wait for the many small calls of
        their layers: with 2 layers of 6, `story-draft` costs 0.17 of `story` with a twelfth of the weights.
        """
        read = matrix_parameters(config) * BYTES_PER_WEIGHT.get(weights, 4)  # bytes; "stored" counts as float32
        return float(read / self.bytes_per_s + config.num_hidden_layers * self.seconds_per_layer)

    def quantize(self, values: Float[Array, "out in"], weights: str) -> Quantized:
        """Return `quantization.quantize`: the matrix rounded to a format."""
        return quantize(values, weights)

    def prepare(self, parts: Sequence[Matrix]) -> Any:
        """Return one matrix in the layout that `linear` uses. Called once for each matrix, at load.

        Args:
            parts: `[out, inner]` each, as files hold them, arrays of floats or quantised. Their rows lie one below the
                other: the outputs of q, then those of k, then those of v.

        Returns:
            here the parts if one of them is quantised, else an array `[inner, out]`.
        """
        if any(isinstance(part, Quantized) for part in parts):
            return list(parts)
        return dequantize(stack(parts)[0]).T

    def prepare_embedding(self, embedding: Matrix) -> Any:
        """Return the table `[vocab, dim]` that `embed` uses."""
        return embedding

    def prepare_tiles(self, out: int, tiles: Iterable[Matrix]) -> Any:
        """Return what `prepare` makes of one matrix of `out` rows, of which `tiles` reads some rows at a time.

        A large matrix is then never in memory twice. All tiles have one format.
        """
        return self.prepare([join_rows(out, tiles)])

    def embedding_of(self, head: Any) -> Any:
        """Return the table for `embed` that a prepared head also is, for a tied embedding; None if it cannot be both.

        A decode step reads the whole head for the logits, but only one row of it for the embedding of the token. So
        there is one copy, in the layout of the head.
        """
        return head[0] if isinstance(head, list) else head.T

    def embed(self, embedding: Any, tokens: Int[Array, "tokens"]) -> Float[Array, "tokens dim"]:
        """Return the embedding's row of each token."""
        if isinstance(embedding, Quantized):
            return embedding.take(tokens).dequantize()
        return embedding[tokens]

    def linear(self, x: Float[Array, "tokens inner"], weight: Any, bias: Any = None) -> Float[Array, "tokens out"]:
        """Return x @ weight, plus the bias if there is one. A quantised matrix is dequantised tile by tile."""
        product = multiply(x, weight) if isinstance(weight, list) else x @ weight
        return product if bias is None else product + bias

    def all_reduce(self, x: Array, operation: str = "sum") -> Array:
        """Return the sum (or "max") of this array over all ranks. Here there is one rank. See `parallel/backend.py`."""
        return x

    def prepare_cut(self, parts: Sequence[Matrix]) -> Any:
        """Prepare a matrix for `cut_linear`: output and down, of which each rank has some columns of `[out, inner]`."""
        return self.prepare(parts)

    def cut_linear(self, x: Float[Array, "tokens inner"], weight: Any) -> Float[Array, "tokens out"]:
        """Return x @ weight, where each rank has a part of x and of the weight's inner axis: the parts are summed."""
        return self.all_reduce(self.linear(x, weight))

    def logits(self, x: Float[Array, "rows dim"], head: Any) -> Float[Array, "rows vocab"]:
        """Return x @ head, for the whole vocabulary."""
        return self.linear(x, head)

    def whole(self, config: ModelConfig) -> ModelConfig:
        """Return the config of the whole model, given that of this rank's share."""
        return config

    def tell(self, memory: Any, operation: str, *arguments: Any) -> None:
        """Announce an operation on a cache's memory, before it is done. Several ranks do it alike."""

    def add_linear(
        self, x: Float[Array, "tokens out"], h: Float[Array, "tokens inner"], weight: Any, bias: Any = None
    ) -> Float[Array, "tokens out"]:
        """Return x + linear(h, weight, bias), where x is the residual stream. A backend may overwrite x."""
        return x + self.linear(h, weight, bias)

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """Return `layers.rms_norm`."""
        return layers.rms_norm(x, weight, eps)

    def cos_sin(self, positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int) -> tuple[Array, Array]:
        """Return `layers.rope_cos_sin` in float64. The caller rounds it to the model's dtype."""
        return layers.rope_cos_sin(positions, rope, head_dim)

    def rope(self, x: Array, cos_sin: tuple[Array, Array]) -> Array:
        """Return `layers.apply_rope`."""
        return layers.apply_rope(x, cos_sin)

    def norm_rope(self, x: Array, weight: Array, eps: float, cos_sin: tuple[Array, Array]) -> Array:
        """Normalise each head on its own, then rotate it. `weight` is `[heads, head_dim]`."""
        return self.rope(self.rms_norm(x, weight, eps), cos_sin)

    def swiglu(self, gate: Array, up: Array) -> Array:
        """Return `layers.swiglu`."""
        return layers.swiglu(gate, up)

    def attend(self, q: Array, segments: attention.Segments, start: int, window: int | None) -> Array:
        """Return `attention.attend`: attention of one sequence's new queries over its cache."""
        return attention.attend(q, segments, start, window)

    def attention(
        self,
        q: Float[Array, "tokens heads head_dim"],
        k: Float[Array, "tokens kv_heads head_dim"],
        v: Float[Array, "tokens kv_heads head_dim"],
        batch: RaggedBatch,
        layer: int,
        window: int | None,
    ) -> Float[Array, "tokens heads*head_dim"]:
        """Write the new keys and values of each sequence to its cache, then let its queries attend over the cache.

        `batch.spans[i]` are the rows of sequence i in q, k and v, and `batch.caches[i]` is its cache. The first loop
        writes the new keys and values of every sequence. The second loop lets the queries of each sequence attend over
        everything in its cache: the older tokens and the new ones. There are two loops because
        `backends/side_by_side.py` divides a long prompt into chunks, which are entries of their own here: the queries
        of a later chunk attend over the keys of an earlier one.

        Example: the prompt of sequence 0 has 3 tokens, and sequence 1 decodes its 8th. Then the spans are rows 0 to 2
        and row 3, the cache lengths are 0 and 7, and the second loop attends over 3 keys and over 8.
        """
        for span, cache in zip(batch.spans, batch.caches, strict=True):
            cache.write(layer, k[span], v[span])
        attention_outputs = []
        for span, cache in zip(batch.spans, batch.caches, strict=True):
            end = cache.length + span.stop - span.start  # `length` counts the older tokens until the pass is done
            attention_outputs.append(self.attend(q[span], cache.segments(layer, end), cache.length, window))
        return np.concatenate(attention_outputs)
