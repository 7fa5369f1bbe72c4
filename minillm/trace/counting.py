"""Counting the work of a real forward pass, at the seam where `forward` hands it to a backend.

Two counts. What was *asked for* follows from the shapes that cross the seam: rows times a matrix, and queries times
the keys that each may see. It does not depend on the backend, and equals what `estimate/work.py` computes from the
config alone. What was *performed* is counted product by product as NumPy multiplies. The difference is waste: keys
that the causal mask hides but whose scores are computed all the same, because a product of whole tiles is faster.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.attention import Segments, causal_mask
from minillm.backends.plain import Plain
from minillm.model import Model


@dataclass
class WorkCount:
    """What forward passes did so far.

    Attributes:
        flops: multiplications plus additions of matrix products that were asked for.
        weight_bytes: of the matrices, each read once in a pass, if any row is multiplied with it.
        cache_bytes: of the keys and values that a query may see, each read once in a pass.
        performed_flops: of the products that the backend made.
        padding_flops: of those, with rows and columns that only fill a matrix up.
        masked_flops: of those, for keys that the query may not see.
    """

    flops: int = 0
    weight_bytes: int = 0
    cache_bytes: int = 0
    performed_flops: int = 0
    padding_flops: int = 0
    masked_flops: int = 0

    @property
    def wasted_flops(self) -> int:
        """Performed, but not asked for."""
        return self.padding_flops + self.masked_flops


def counted(model: Model) -> tuple[Model, WorkCount]:
    """The same model, and a count of the work that it does from now on. Its caches must be made for it."""
    count, ops = WorkCount(), copy(model.ops)
    setattr(ops, "linear", partial(_linear, ops.linear, count, model.dtype.itemsize))  # noqa: B010  # mypy: a method
    setattr(ops, "attention", partial(_attention, ops.attention, count))  # noqa: B010
    # On several threads, a matrix would be read and counted more than once.
    setattr(ops, "run", partial(Plain.run, ops))  # noqa: B010
    return replace(model, ops=ops), count


def _linear(
    linear: Callable[..., Array], count: WorkCount, itemsize: int, x: Array, weight: Any, bias: Any = None
) -> Array:
    """Every row times every number of the matrix."""
    before = count.performed_flops
    product = np.asarray(linear(x.view(_watching(count)), weight, bias))
    (rows, inner), out = x.shape, product.shape[1]
    asked = 2 * rows * inner * out
    count.flops += asked
    count.padding_flops += count.performed_flops - before - asked
    count.weight_bytes += inner * out * itemsize if rows else 0
    return product


def _attention(
    attention: Callable[..., Array],
    count: WorkCount,
    q: Array,
    k: Array,
    v: Array,
    spans: Sequence[slice],
    caches: Sequence[Any],
    layer: int,
    window: int | None,
) -> Array:
    """For each head, every query with every key it may see, twice: for the score, and for the value."""
    (_, heads, head_dim), asked = q.shape, 0
    for span, cache in zip(spans, caches, strict=True):
        queries = span.stop - span.start
        visible = causal_mask(queries, cache.length + queries, cache.length, window)  # [queries, keys]
        asked += 4 * heads * head_dim * int(visible.sum())
        count.cache_bytes += 2 * k.shape[1] * head_dim * k.itemsize * int(visible.any(axis=0).sum())
    before = count.performed_flops
    mixed = attention(q, k, v, spans, [_WatchedCache(cache, count) for cache in caches], layer, window)
    count.flops += asked
    count.masked_flops += count.performed_flops - before - asked
    return np.asarray(mixed)


class _WatchedCache:
    """A cache whose keys and values are watched: both products of attention have one of them as a factor."""

    def __init__(self, cache: Any, count: WorkCount) -> None:
        self._cache, self._watched = cache, _watching(count)

    def __getattr__(self, name: str) -> Any:
        """All else is the cache's."""
        return getattr(self._cache, name)

    def segments(self, layer: int, end: int) -> Segments:
        """As the cache gives them."""
        return [(k.view(self._watched), v.view(self._watched)) for k, v in self._cache.segments(layer, end)]


def _watching(count: WorkCount) -> type[Array]:
    """A kind of array that counts the products it takes part in, as do its views and what is computed from it."""

    class Watched(np.ndarray):
        __array_priority__ = 1.0  # so that what is concatenated with it is watched, too

        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
            """Compute as NumPy does; then count, if it was a matrix product."""
            if "out" in options:
                options["out"] = tuple(_plain(array) for array in options["out"])
            result = getattr(ufunc, method)(*map(_plain, inputs), **options)
            if ufunc in (np.matmul, np.matvec, np.vecmat):
                inner = inputs[0].shape[-1]  # of all three: the axis that is summed over
                count.performed_flops += 2 * int(np.size(result)) * inner
            return result.view(Watched) if isinstance(result, np.ndarray) else result

    def _plain(value: Any) -> Any:
        return value.view(np.ndarray) if isinstance(value, Watched) else value

    return Watched
