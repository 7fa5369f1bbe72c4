"""Count the work of a real forward pass, where `forward` calls the backend.

There are two counts. The *requested* operations follow from the shapes of the arguments: rows times a matrix, and
queries times the keys that each query attends to. They do not depend on the backend, and equal what `estimate/work.py`
computes from the config alone. The *performed* operations are counted for each product that NumPy computes. The
difference is waste. For example, the scores of some masked keys are computed too, because the product of a full tile is
faster.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.attention import Segments, causal_mask
from minillm.backends.plain import Plain
from minillm.model import Model
from minillm.ragged_batch import RaggedBatch

OTHER_PRODUCTS = ("compiled", "cupy")  # backends that multiply in loops or kernels of their own


@dataclass
class WorkCount:
    """The work of all forward passes since counting began.

    Attributes:
        flops: multiplications plus additions of the requested matrix products.
        weight_bytes: bytes of the matrices in the format in which the model keeps them, each read once per pass if any
            row is multiplied with it.
        cache_bytes: bytes of the keys and values that a query attends to, each read once per pass.
        performed_flops: flops of the products that the backend computed.
        padding_flops: performed flops for rows and columns that only pad a matrix.
        masked_flops: performed flops for keys that the mask hides from the query.
    """

    flops: int = 0
    weight_bytes: int = 0
    cache_bytes: int = 0
    performed_flops: int = 0
    padding_flops: int = 0
    masked_flops: int = 0

    @property
    def wasted_flops(self) -> int:
        """Return the flops that were performed but not requested."""
        return self.padding_flops + self.masked_flops


def counted(model: Model) -> tuple[Model, WorkCount]:
    """Return a copy of the model and the count of the work that this copy does. Its caches must be made for it.

    The products of NumPy are counted, so the backend has to compute with them. The requested operations are the same
    on every backend.

    Raises:
        ValueError: the backend computes without NumPy.
    """
    if model.ops.name in OTHER_PRODUCTS:
        raise ValueError(
            f"the {model.ops.name} backend computes without NumPy, whose products are counted; load the model with "
            "backend='numpy', which is asked for the same operations"
        )
    count, ops = WorkCount(), copy(model.ops)
    setattr(ops, "linear", partial(_linear, ops.linear, count))  # noqa: B010  # mypy: a method
    setattr(ops, "attention", partial(_attention, ops.attention, count))  # noqa: B010
    # On one thread: several threads would read a matrix, and count it, more than once.
    setattr(ops, "run", partial(Plain.run, ops))  # noqa: B010
    return replace(model, ops=ops), count


def _linear(linear: Callable[..., Array], count: WorkCount, x: Array, weight: Any, bias: Any = None) -> Array:
    """Multiply as the backend does, and count each row times each number of the matrix."""
    before = count.performed_flops
    product = np.asarray(linear(x.view(_watching(count)), weight, bias))
    (rows, inner), out = x.shape, product.shape[1]
    requested = 2 * rows * inner * out
    count.flops += requested
    count.padding_flops += count.performed_flops - before - requested
    parts = weight if isinstance(weight, list) else [weight]
    count.weight_bytes += sum(part.nbytes for part in parts) if rows else 0
    return product


def _attention(
    attention: Callable[..., Array],
    count: WorkCount,
    q: Array,
    k: Array,
    v: Array,
    batch: RaggedBatch,
    layer: int,
    window: int | None,
) -> Array:
    """Attend as the backend does, and count each query times each visible key, twice: for score and for value."""
    (_, heads, head_dim), requested = q.shape, 0
    for span, cache in zip(batch.spans, batch.caches, strict=True):
        queries = span.stop - span.start
        visible = causal_mask(queries, cache.length + queries, cache.length, window)  # [queries, keys]
        requested += 4 * heads * head_dim * int(visible.sum())
        count.cache_bytes += cache.layout().bytes_per_token * int(visible.any(axis=0).sum())
    before = count.performed_flops
    watched = replace(batch, caches=[_WatchedCache(cache, count) for cache in batch.caches])
    attention_output = attention(q, k, v, watched, layer, window)
    count.flops += requested
    count.masked_flops += count.performed_flops - before - requested
    return np.asarray(attention_output)


class _WatchedCache:
    """A cache whose keys and values count the products they take part in: both products of attention use one."""

    def __init__(self, cache: Any, count: WorkCount) -> None:
        self._cache, self._watched = cache, _watching(count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def segments(self, layer: int, end: int) -> Segments:
        return [(k.view(self._watched), v.view(self._watched)) for k, v in self._cache.segments(layer, end)]


def _watching(count: WorkCount) -> type[Array]:
    """Return an array class that counts the products it takes part in. Views and results are of the same class."""

    class Watched(np.ndarray):
        __array_priority__ = 1.0  # so that a concatenation with another array is of this class too

        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
            """Compute as NumPy does, then count the operation if it was a matrix product."""
            if "out" in options:
                options["out"] = tuple(_plain(array) for array in options["out"])
            result = getattr(ufunc, method)(*map(_plain, inputs), **options)
            if ufunc in (np.matmul, np.matvec, np.vecmat):
                inner = inputs[0].shape[-1]  # the axis that all three sum over
                count.performed_flops += 2 * int(np.size(result)) * inner
            return result.view(Watched) if isinstance(result, np.ndarray) else result

    def _plain(value: Any) -> Any:
        return value.view(np.ndarray) if isinstance(value, Watched) else value

    return Watched
