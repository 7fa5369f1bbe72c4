"""What `forward` means: the backend seam, filled with nothing but readable NumPy.

A backend answers three questions: how a weight matrix is kept (`prepare`, `tie`), how it is used (`linear`, `embed`),
and how the queries of a whole ragged batch meet their caches (`attention`). Other backends override methods of this
class; each override is held to the method here by a test.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minillm import attention, layers
from minillm.arrays import Array, Float, Int
from minillm.config import RopeParameters
from minillm.ragged_batch import RaggedBatch


class Plain:
    """The backend that does what the formulas say."""

    name = "plain"
    dtypes: tuple[str, ...] = ("float32", "float64")  # that the user may choose from

    def choose_dtype(self, dtype: str) -> np.dtype[Any]:
        """Take the user's choice, one of `dtypes`; returns what activations and caches are kept in."""
        return np.dtype(dtype)

    def stored_weights(self, dtype: str) -> tuple[str, int]:
        """What weights are kept in when this is chosen: its name, and bytes of a number."""
        chosen = self.choose_dtype(dtype)
        return chosen.name, chosen.itemsize

    def array(self, values: Any, dtype: Any = None) -> Array:
        """Values as an array where this backend computes."""
        return np.asarray(values, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of zeros where this backend computes; untouched pages take no memory."""
        return np.zeros(shape, dtype)

    def to_host(self, x: Array) -> Array:
        """The same numbers as a NumPy array."""
        return x

    def free_memory(self) -> int | None:
        """Bytes that are free where this backend keeps its arrays; None if that is not known."""
        return None

    def send(self, batch: RaggedBatch) -> RaggedBatch:
        """The same batch where this backend computes; called once before each forward pass."""
        return batch

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """compute(model, batch), where nothing but the numbers in `batch` differs from one decode step to the next."""
        return compute(model, batch)

    def prepare(self, weight: Float[Array, "inner out"]) -> Any:
        """Called once per matrix, at load: the form in which `linear` wants it."""
        return weight

    def tie(self, embedding: Float[Array, "vocab dim"]) -> tuple[Any, Any]:
        """For an embedding that is the output head too: what `embed` looks tokens up in, and the prepared head."""
        return embedding, self.prepare(embedding.T)

    def embed(self, embedding: Any, tokens: Int[Array, "tokens"]) -> Float[Array, "tokens dim"]:
        """The rows of the embedding that belong to these tokens."""
        return embedding[self.array(tokens)]

    def linear(self, x: Float[Array, "tokens inner"], weight: Any, bias: Any = None) -> Float[Array, "tokens out"]:
        """x @ weight (+ bias)."""
        product = x @ weight
        return product if bias is None else product + bias

    def add_linear(
        self, x: Float[Array, "tokens out"], h: Float[Array, "tokens inner"], weight: Any, bias: Any = None
    ) -> Float[Array, "tokens out"]:
        """x + linear(h, weight, bias), which joins the residual stream; a backend may overwrite x."""
        return x + self.linear(h, weight, bias)

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """See layers.rms_norm."""
        return layers.rms_norm(x, weight, eps)

    def cos_sin(self, positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int) -> tuple[Array, Array]:
        """See layers.rope_cos_sin; float64, the caller rounds."""
        return layers.rope_cos_sin(positions, rope, head_dim)

    def rope(self, x: Array, cos_sin: tuple[Array, Array]) -> Array:
        """See layers.apply_rope."""
        return layers.apply_rope(x, cos_sin)

    def norm_rope(self, x: Array, weight: Array, eps: float, cos_sin: tuple[Array, Array]) -> Array:
        """Every head is normalised by itself before it is rotated; `weight` is `[heads, head_dim]`."""
        return self.rope(self.rms_norm(x, weight, eps), cos_sin)

    def swiglu(self, gate: Array, up: Array) -> Array:
        """See layers.swiglu."""
        return layers.swiglu(gate, up)

    def attend(self, q: Array, segments: attention.Segments, start: int, window: int | None) -> Array:
        """See attention.attend."""
        return attention.attend(q, segments, start, window)

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
        """Write each sequence's keys and values to its cache, then attend over it. `spans` are its rows in q, k and v.

        All are written before any are read, since several of these may be chunks of one sequence.
        """
        for span, cache in zip(spans, caches, strict=True):
            cache.write(layer, k[span], v[span])
        mixed = []
        for span, cache in zip(spans, caches, strict=True):
            end = cache.length + span.stop - span.start
            mixed.append(self.attend(q[span], cache.segments(layer, end), cache.length, window))
        return np.concatenate(mixed)
