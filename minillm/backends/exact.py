"""The `exact` backend: integer arithmetic in float64, so that no schedule can change a single bit of the logits.

A sum that rounds depends on the order of its additions. Matrix libraries choose that order by the shape of the batch,
the number of threads and the processor. Here no sum rounds. The numbers are first put on a *grid*: each is rounded to
an integer multiple of a power of two, the *step*. Products of such numbers are integer multiples of the product of the
two steps, and so is every sum of them. float64 represents every integer up to 2**53 exactly. So it remains to show that
no sum, and no partial sum in any order, exceeds 2**53 steps:

- A sum of terms (`exact_sum`): each term is below 2**31 steps, and there are at most 2**22 terms.
- A row times a column (`linear`, and the scores of attention): no partial sum exceeds the norm of the row times the
  norm of the column (the Cauchy-Schwarz inequality). That is 2**27 steps times 2**26 steps, for any number of terms.
- Attention weights times values (`_weights_on_grid`): the weights together are about 2**27 steps, and a value is at
  most 2**25 steps.

Keys and values from a cache in int8 are on coarser grids already: see `kv_cache/int8.py`.

For example, 0.3 and 0.7 on a grid of step 1/4 are 1/4 and 3/4. Their sum is 4/4 in either order.

So every sum has one value. Batches, chunks, cache blocks, threads and libraries change only the order of additions. For
a whole model two more conditions are needed:

- The step of a row depends on the numbers of that row alone. It depends neither on other rows nor on an order.
- Everything else is one operation on each number. IEEE 754 defines +, -, *, / and sqrt to the last bit. NumPy's exp,
  sin, cos and powers differ between processors, so `exact_functions` computes them from those five operations.

Rounding once to a grid loses less accuracy than the many roundings of float32. The cost is float64: twice the memory
and half the speed. The guarantee ends where numbers overflow, beyond 2**500: the result is then NaN. Sums on a grid:
Demmel and Nguyen, Fast Reproducible Floating-Point Summation, ARITH 2013.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.attention import Segments, causal_mask
from minillm.backends.exact_functions import cos_sin, exp
from minillm.backends.layout import copy_in_blocks
from minillm.backends.plain import Plain
from minillm.backends.side_by_side import side_by_side
from minillm.config import RopeParameters
from minillm.quantization import Matrix, Quantized, dequantize
from minillm.ragged_batch import RaggedBatch

MOST_TERMS, TERM_BITS = 2**22, 31  # 22 + 31 = 53
ROW_BITS, COLUMN_BITS = 27, 26  # 27 + 26 = 53
WEIGHTS_BITS, VALUE_BITS = 27, 25  # 52: one spare bit, because rounding may add half a step to each of 2**22 weights
SMALLEST = 2.0**-400  # far smaller numbers become 0, so that no product comes near float64's smallest, 2**-1074
QUERY_TILE = 64  # queries that attend at once
ROW_TILE = 64  # rows of a weight matrix that are rounded at once, on every rank
Reduce = Callable[..., Array]  # (array, "sum" or "max") -> the same over all ranks


def on_grid(x: Float[Array, "*shape"], size: Float[Array, "*sizes"], bits: int) -> Float[Array, "*shape"]:
    """Round x to integer multiples of a step: the smallest power of two for which 1.01 * size is below 2**bits steps.

    The naive twin is `np.rint(x / step) * step`. The factor 1.01 leaves room for what rounding adds: to x here, and to
    `size` before. np.spacing is the distance to the next float: 2**-53 times the next power of two. After 1.5 * 2**52
    steps are added, float64 has no bits left for less than a step. Subtracting them again is exact.
    """
    step = np.ldexp(np.spacing(1.01 * size), 53 - bits)
    push = 1.5 * 2**52 * step
    rounded = x + push
    rounded -= push
    return rounded


def _alone(x: Array, operation: str = "sum") -> Array:
    return x


def exact_sum(x: Float[Array, "*shape"], axis: int = -1, reduce: Reduce = _alone) -> Float[Array, "*sums"]:
    """Return the sum of numbers >= 0 along an axis, which is kept with length 1.

    If the axis is cut over several ranks, they first agree on the largest number, and so on one grid: `reduce` is the
    backend's `all_reduce`.
    """
    assert x.shape[axis] <= MOST_TERMS, f"a sum of {x.shape[axis]} terms; exact up to {MOST_TERMS}"
    size = reduce(x.max(axis, keepdims=True), "max")
    return reduce(on_grid(x, size, TERM_BITS).sum(axis, keepdims=True))


def norm(x: Float[Array, "*shape"], axis: int = -1, reduce: Reduce = _alone) -> Float[Array, "*norms"]:
    """Return the root of the sum of squares along an axis. It is the same in any order."""
    return np.maximum(np.sqrt(exact_sum(x * x, axis, reduce)), SMALLEST)


def largest(x: Float[Array, "*shape"]) -> Float[Array, "*largest"]:
    """Return the largest magnitude of each row."""
    return np.maximum(np.abs(x).max(axis=-1, keepdims=True), SMALLEST)


@cache  # once in a process: NumPy has no fast product of integers
def check_products() -> None:
    """Raise OSError if NumPy's matrix product rounds integers up to 2**53."""
    integers = np.random.default_rng(0).integers(2**21, size=(2, 2048, 48))  # sums up to 2**53
    if not np.array_equal((integers[0].T.astype(float) @ integers[1].astype(float)), integers[0].T @ integers[1]):
        raise OSError("this NumPy's matrix product rounds integers below 2**53; reinstall NumPy")


class Exact(Plain):
    """The backend whose sums are exact, so that every schedule gives the same bits. It computes in float64."""

    name, keeps_quantized, head_is_embedding = "exact", False, False

    def choose_dtype(self, dtype: str) -> np.dtype[Any]:
        """Return float64 for every choice."""
        return np.dtype(np.float64)

    def __init__(self) -> None:
        """Check that this machine's matrix product does not round integers up to 2**53.

        Raises:
            OSError: it rounds them.
        """
        check_products()

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """Compute on several threads if there are many rows. That is another schedule with the same bits."""
        return side_by_side(compute, model, batch)

    def bytes_per_weight(self, dtype: str, weights: str) -> float:
        """Return 8: quantised weights are dequantised at load."""
        return 8

    def prepare(self, parts: Sequence[Matrix]) -> Any:
        """Round each column to its grid, once, and store the matrix contiguous along its longer axis as `Fast` does."""
        return _round_columns(sum(part.shape[0] for part in parts), parts, _alone)

    def prepare_tiles(self, out: int, tiles: Iterable[Matrix]) -> Any:
        """Do the same with a matrix that is read a few rows at a time."""
        return _round_columns(out, tiles, _alone)

    def embedding_of(self, head: Any) -> None:
        """Return None: the head is rounded to its grids, and the embedding is not."""

    def prepare_cut(self, parts: Sequence[Matrix]) -> Any:
        """Do the same. The grid of a column is that of the whole column, of which other ranks have parts."""
        return _round_columns(sum(part.shape[0] for part in parts), parts, self.all_reduce)

    def linear(self, x: Float[Array, "tokens inner"], weight: Any, bias: Any = None) -> Float[Array, "tokens out"]:
        """Return x @ weight (+ bias). Each row of x is rounded to its grid, so that no sum rounds."""
        product = on_grid(x, norm(x), ROW_BITS) @ weight
        return product if bias is None else product + bias

    def cut_linear(self, x: Float[Array, "tokens inner"], weight: Any) -> Float[Array, "tokens out"]:
        """Return x @ weight. The grid of a row is that of the whole row, so the sums of all ranks are on one grid."""
        return self.all_reduce(on_grid(x, norm(x, -1, self.all_reduce), ROW_BITS) @ weight)

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """Return `layers.rms_norm`, with an exact sum."""
        return x / np.sqrt(exact_sum(x * x) / x.shape[-1] + eps) * weight

    def swiglu(self, gate: Array, up: Array) -> Array:
        """Return `layers.swiglu`, with `exp` of `exact_functions`."""
        return gate / (1 + exp(-gate)) * up

    def cos_sin(self, positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int) -> tuple[Array, Array]:
        """Return `layers.rope_cos_sin`, the same on every processor."""
        return cos_sin(positions, rope, head_dim)

    def attention(self, q: Array, k: Array, v: Array, batch: RaggedBatch, layer: int, window: int | None) -> Array:
        """Round q, k and v to their grids, then attend as `Plain.attention`.

        Keys and values are written to the cache on their grids: they are rounded once, not at every decode step.
        """
        q = q / math.sqrt(q.shape[-1])
        q, k = on_grid(q, norm(q), ROW_BITS), on_grid(k, norm(k), COLUMN_BITS)
        return super().attention(q, k, on_grid(v, largest(v), VALUE_BITS), batch, layer, window)

    def attend(self, q: Array, segments: Segments, start: int, window: int | None) -> Array:
        """Return `attention.attend`, in query tiles, so that no square matrix of all scores is needed."""
        tiles = range(0, len(q), QUERY_TILE)
        return np.concatenate([_attend(q[i : i + QUERY_TILE], segments, start + i, window) for i in tiles])


def _round_columns(out: int, parts: Iterable[Matrix], reduce: Reduce) -> Float[Array, "inner out"]:
    """Return parts `[rows, inner]`, one below the other, as `[inner, out]`, each column on its grid.

    A few rows at a time are dequantised and rounded, so no second matrix as large is in memory.
    """
    weight, end = np.empty((0, 0)), 0
    for part in parts:
        if not end:
            inner = part.shape[1]
            weight = np.empty((inner, out)) if inner < out else np.empty((out, inner)).T
        for first in range(0, part.shape[0], ROW_TILE):
            tile = slice(first, first + ROW_TILE)
            rows = dequantize(part.take(tile) if isinstance(part, Quantized) else part[tile]).astype(np.float64)
            copy_in_blocks(on_grid(rows, norm(rows, -1, reduce), COLUMN_BITS).T, weight[:, end : end + len(rows)])
            end += len(rows)
        del part  # before the next one is read
    return weight


def _attend(
    q: Float[Array, "queries heads head_dim"], segments: Segments, start: int, window: int | None
) -> Float[Array, "queries heads*head_dim"]:
    """Return `attention.attend` for queries and segments on grids. The queries are already over sqrt(head_dim)."""
    (queries, heads, head_dim), kv_heads = q.shape, len(segments[0][0])
    q = q.reshape(queries, kv_heads, heads // kv_heads, head_dim).transpose(1, 2, 0, 3)
    segments = _first(segments, start + queries)
    scores = np.concatenate([q @ keys[:, None].swapaxes(-1, -2) for keys, _ in segments], axis=-1)
    visible = causal_mask(queries, scores.shape[-1], start, window)  # [queries, keys]
    scores = np.where(visible, scores, -np.inf)  # [kv_heads, group, queries, keys]
    weights = np.where(visible, exp(scores - scores.max(axis=-1, keepdims=True)), 0.0)
    ends = np.cumsum([keys.shape[1] for keys, _ in segments])[:-1]
    by_segment = zip(np.split(_weights_on_grid(weights, segments), ends, axis=-1), segments, strict=True)
    attention_output = sum(part @ values[:, None] for part, (_, values) in by_segment) / exact_sum(weights)
    return attention_output.transpose(2, 0, 1, 3).reshape(queries, heads * head_dim)


def _weights_on_grid(
    weights: Float[Array, "kv_heads group queries keys"], segments: Segments
) -> Float[Array, "kv_heads group queries keys"]:
    """Round the attention weights so that the sum of weight * value over the keys is exact.

    The values of each key are on their own grid: below `size`, a power of two, in steps of size * 2**-25. So
    weight * size is rounded to a grid, one grid for all keys of a query. These products add up to about 2**27 steps.
    Then weight * value is an integer multiple of 2**-25 of such a step, and the sum stays below 2**53 multiples.
    """
    sizes = np.concatenate([largest(values) for _, values in segments], axis=1)  # [kv_heads, keys, 1]
    sizes = (np.spacing(sizes) * 2.0**53)[:, None].swapaxes(-1, -2)  # [kv_heads, 1, 1, keys]
    sized = weights * sizes
    return on_grid(sized, exact_sum(sized), WEIGHTS_BITS) / sizes


def _first(segments: Segments, keys: int) -> Segments:
    """Return the segments up to the first `keys` keys. Later keys are masked for every query of the tile."""
    kept = []
    for segment_keys, segment_values in segments:
        if keys > 0:
            kept.append((segment_keys[:, :keys], segment_values[:, :keys]))
        keys -= segment_keys.shape[1]
    return kept
