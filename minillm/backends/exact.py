"""The `exact` backend: whole numbers in float64, so that no schedule can change a single bit of the logits.

A sum that rounds depends on the order of its additions, and matrix libraries choose the order by the shape of the
batch, the number of threads and the processor. Here no sum rounds. Its numbers are first put on a *grid*: rounded to
whole multiples of a power of two, the *step*. Products of such numbers are whole multiples of the product of the
steps, and so is every sum of them. float64 holds each whole number up to 2**53. What is left to show is that no sum,
nor any part of it, in whatever order, goes beyond:

- A sum of terms (`exact_sum`): each is below 2**31 steps, and there are at most 2**22 of them.
- A row times a column (`linear`, and the scores of attention): no part of the sum exceeds the norm of the row times
  the norm of the column (the Cauchy-Schwarz inequality), 2**27 steps times 2**26, however many terms there are.
- Attention's weights times values (`_weights_on_grid`): all weights together are about 2**27 steps, a value is at most
  2**25.

So a sum has one value, and batches, chunks, pages, threads and libraries are only orders. Two more things make that
hold for a whole model:

- The step of a row depends on the numbers of that row alone, never on its company, nor on an order.
- All else is one operation on each number. IEEE 754 defines +, -, *, / and sqrt to the last bit. NumPy's exp, sin, cos
  and powers differ between processors, so `exact_functions` makes them from those.

Rounding to a grid, once, costs less accuracy than float32's many roundings. The price is float64: twice the memory and
half the speed. The promise ends where numbers overflow, beyond 2**500: what comes of them is NaN. Sums on a grid:
Demmel and Nguyen, Fast Reproducible Floating-Point Summation, ARITH 2013.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.attention import Segments, causal_mask
from minillm.backends.exact_functions import cos_sin, exp
from minillm.backends.plain import Plain
from minillm.backends.side_by_side import side_by_side
from minillm.config import RopeParameters
from minillm.ragged_batch import RaggedBatch

MOST_TERMS, TERM_BITS = 2**22, 31  # 22 + 31 = 53
ROW_BITS, COLUMN_BITS = 27, 26  # 27 + 26 = 53
WEIGHTS_BITS, VALUE_BITS = 27, 25  # one bit is spare: rounding may add half a step to each of 2**22 weights
SMALLEST = 2.0**-400  # what is far smaller becomes 0, so that no product comes near float64's least number, 2**-1074
QUERY_TILE = 64


def on_grid(x: Float[Array, "*shape"], size: Float[Array, "*sizes"], bits: int) -> Float[Array, "*shape"]:
    """Round to whole multiples of a step, the power of two of which 1.01 * size is just below 2**bits.

    The hundredth makes room for what rounding adds, to x here and to `size` before. np.spacing is the distance to the
    next float: 2**-53 times the next power of two. Adding 1.5 * 2**52 steps leaves no room for anything below a step,
    and taking them off again is exact. The readable twin is `np.rint(x / step) * step`.
    """
    step = np.ldexp(np.spacing(1.01 * size), 53 - bits)
    push = 1.5 * 2**52 * step
    rounded = x + push
    rounded -= push
    return rounded


def exact_sum(x: Float[Array, "*shape"], axis: int = -1) -> Float[Array, "*sums"]:
    """The sum of numbers >= 0 along an axis, which is kept with length 1."""
    assert x.shape[axis] <= MOST_TERMS, f"a sum of {x.shape[axis]} terms; exact up to {MOST_TERMS}"
    return on_grid(x, x.max(axis, keepdims=True), TERM_BITS).sum(axis, keepdims=True)


def norm(x: Float[Array, "*shape"], axis: int = -1) -> Float[Array, "*norms"]:
    """The root of the sum of squares along an axis: the same in any order."""
    return np.maximum(np.sqrt(exact_sum(x * x, axis)), SMALLEST)


def largest(x: Float[Array, "*shape"]) -> Float[Array, "*largest"]:
    """The largest magnitude of each row."""
    return np.maximum(np.abs(x).max(axis=-1, keepdims=True), SMALLEST)


class Exact(Plain):
    """Every sum is exact, so every schedule gives the same bits. Always in float64."""

    name = "exact"

    def choose_dtype(self, dtype: str) -> np.dtype[Any]:
        """Always float64."""
        return np.dtype(np.float64)

    def __init__(self) -> None:
        """See to it that this machine's matrix product keeps the promise.

        Raises:
            OSError: it does not.
        """
        whole = np.random.default_rng(0).integers(2**21, size=(2, 2048, 48))  # sums up to 2**53
        if not np.array_equal((whole[0].T.astype(float) @ whole[1].astype(float)), whole[0].T @ whole[1]):
            raise OSError("this NumPy's matrix product rounds whole numbers below 2**53; reinstall NumPy")

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """Many rows are shared out among threads, which is one more schedule."""
        return side_by_side(compute, model, batch)

    def prepare(self, weight: Float[Array, "inner out"]) -> Any:
        """Columns on their grids, once; contiguous along the longer axis, which reads faster: see Fast.prepare."""
        inner, out = weight.shape
        weight = np.ascontiguousarray(weight) if inner < out else weight
        return on_grid(weight, norm(weight, axis=0), COLUMN_BITS)

    def linear(self, x: Float[Array, "tokens inner"], weight: Any, bias: Any = None) -> Float[Array, "tokens out"]:
        """x @ weight (+ bias), with rows on their grids."""
        product = on_grid(x, norm(x), ROW_BITS) @ weight
        return product if bias is None else product + bias

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """See layers.rms_norm."""
        return x / np.sqrt(exact_sum(x * x) / x.shape[-1] + eps) * weight

    def swiglu(self, gate: Array, up: Array) -> Array:
        """See layers.swiglu."""
        return gate / (1 + exp(-gate)) * up

    def cos_sin(self, positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int) -> tuple[Array, Array]:
        """See layers.rope_cos_sin."""
        return cos_sin(positions, rope, head_dim)

    def attention(self, q: Array, k: Array, v: Array, spans: Sequence[slice], caches: Sequence[Any], layer: int,
                  window: int | None) -> Array:  # fmt: skip
        """As in Plain, but keys and values go into the cache on their grids: rounded once, not at every step."""
        q = q / math.sqrt(q.shape[-1])
        q, k = on_grid(q, norm(q), ROW_BITS), on_grid(k, norm(k), COLUMN_BITS)
        return super().attention(q, k, on_grid(v, largest(v), VALUE_BITS), spans, caches, layer, window)

    def attend(self, q: Array, segments: Segments, start: int, window: int | None) -> Array:
        """See attention.attend; in tiles of queries, so that no square matrix of scores is made."""
        tiles = range(0, len(q), QUERY_TILE)
        return np.concatenate([_attend(q[i : i + QUERY_TILE], segments, start + i, window) for i in tiles])


def _attend(
    q: Float[Array, "queries heads head_dim"], segments: Segments, start: int, window: int | None
) -> Float[Array, "queries heads*head_dim"]:
    """attention.attend, for queries and segments on their grids; the queries are divided by sqrt(head_dim) already."""
    (queries, heads, head_dim), kv_heads = q.shape, len(segments[0][0])
    q = q.reshape(queries, kv_heads, heads // kv_heads, head_dim).transpose(1, 2, 0, 3)
    segments = _first(segments, start + queries)
    scores = np.concatenate([q @ keys[:, None].swapaxes(-1, -2) for keys, _ in segments], axis=-1)
    visible = causal_mask(queries, scores.shape[-1], start, window)  # [queries, keys]
    scores = np.where(visible, scores, -np.inf)  # [kv_heads, group, queries, keys]
    weights = np.where(visible, exp(scores - scores.max(axis=-1, keepdims=True)), 0.0)
    ends = np.cumsum([keys.shape[1] for keys, _ in segments])[:-1]
    parts = zip(np.split(_weights_on_grid(weights, segments), ends, axis=-1), segments, strict=True)
    mixed = sum(part @ values[:, None] for part, (_, values) in parts) / exact_sum(weights)
    return mixed.transpose(2, 0, 1, 3).reshape(queries, heads * head_dim)


def _weights_on_grid(
    weights: Float[Array, "kv_heads group queries keys"], segments: Segments
) -> Float[Array, "kv_heads group queries keys"]:
    """Attention's weights, rounded so that the sum of weight * value over the keys is exact.

    The values of each key are on a grid of their own: below `size`, a power of two, in steps of size * 2**-25. So it is
    weight * size that goes on a grid, one for all keys of a query, together about 2**27 steps. Then weight * value is a
    multiple of 2**-25 of these steps, and all together stay below 2**53 of them.
    """
    sizes = np.concatenate([largest(values) for _, values in segments], axis=1)  # [kv_heads, keys, 1]
    sizes = (np.spacing(sizes) * 2.0**53)[:, None].swapaxes(-1, -2)  # [kv_heads, 1, 1, keys]
    sized = weights * sizes
    return on_grid(sized, exact_sum(sized), WEIGHTS_BITS) / sizes


def _first(segments: Segments, keys: int) -> Segments:
    """The segments up to so many keys: later ones are masked for every query of the tile."""
    kept = []
    for piece_keys, piece_values in segments:
        if keys > 0:
            kept.append((piece_keys[:, :keys], piece_values[:, :keys]))
        keys -= piece_keys.shape[1]
    return kept
