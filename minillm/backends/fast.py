"""The `numpy` backend: the same arithmetic as `plain`, with the NumPy calls that are fastest on ordinary processors.

Every method has a naive twin: the readable method that it equals. Each docstring names it, and a test compares the two.

- A decode step is limited by how fast the weights are read from memory. So the weights are stored in the order in
  which they are read. Between the products there are few NumPy calls, because each takes a microsecond or more and a
  token passes through thirty layers.
- Prefill is limited by the matrix products, then by the exponentials of softmax. So scores that the causal mask hides
  are mostly not computed.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.attention import Segments, causal_mask
from minillm.backends.layout import copy_in_blocks
from minillm.backends.plain import Plain
from minillm.backends.side_by_side import side_by_side
from minillm.backends.threads import run_tasks, thread_count
from minillm.config import RopeParameters
from minillm.quantization import Matrix, Quantized
from minillm.ragged_batch import RaggedBatch

QUERY_TILE = 64  # queries that attend at once in prefill
MANY_BYTES = 12_000_000  # bytes of keys that take about 1 ms to read
FEW_ROWS = range(2, 4)  # with more rows, one matrix product is faster than a matrix-vector product for each row
SOME_ROWS = range(4, 65)  # with more rows, the transposed product is not faster


class Fast(Plain):
    """Weights in the layout that reads fastest. Prefill in query tiles, without a square matrix of all scores."""

    name = "numpy"

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """Compute on several threads if there are many rows. Naive twin: `Plain.run`."""
        return side_by_side(compute, model, batch)

    def prepare(self, parts: Sequence[Matrix]) -> Any:
        """Store the matrix contiguous along its longer axis.

        Naive twin: `Plain.prepare`, which copies nothing. In a matrix-vector product OpenBLAS reads along the longer
        axis up to 40% faster. Files store `[out, inner]`: if `inner` is the longer axis, the matrix is used as it is.
        A quantised matrix stays as it is.
        """
        if any(isinstance(part, Quantized) for part in parts):
            return super().prepare(parts)
        inner, out = parts[0].shape[1], sum(part.shape[0] for part in parts)
        return super().prepare(parts) if inner > out else _transposed(out, parts)

    def prepare_tiles(self, out: int, tiles: Iterable[Matrix]) -> Any:
        """Copy each tile into the layout of `prepare`. Naive twin: `Plain.prepare_tiles`."""
        tiles = iter(tiles)
        first = next(tiles)
        tiles = chain([first], tiles)
        if isinstance(first, Quantized) or first.shape[1] > out:
            return super().prepare_tiles(out, tiles)
        return _transposed(out, tiles)

    def linear(self, x: Float[Array, "tokens inner"], weight: Any, bias: Any = None) -> Float[Array, "tokens out"]:
        """Return x @ weight (+ bias), computed in the way that is fastest for this number of rows and this layout.

        Naive twin: `Plain.linear`. For a product with two rows or more, OpenBLAS first copies the whole matrix. So 2 or
        3 rows are multiplied one by one. A matrix in the file's order is `[out, inner]`, row by row: the product takes
        less time with that matrix on the left.
        """
        if isinstance(weight, list):
            return super().linear(x, weight, bias)
        if len(x) in FEW_ROWS:
            product = np.vecmat(x, weight)
        elif len(x) in SOME_ROWS and weight.flags.f_contiguous:
            product = (weight.T @ x.T).T  # 40% less time at 8 rows
        else:
            product = x @ weight
        return product if bias is None else product + bias

    def rms_norm(self, x: Float[Array, "*batch dim"], weight: Array, eps: float) -> Float[Array, "*batch dim"]:
        """Normalise rows, squaring and summing in one call, `vecdot`. Naive twin: `layers.rms_norm`."""
        mean_square = np.vecdot(x, x)[..., None] / x.shape[-1]  # [*batch, 1]
        normed = x * (1 / np.sqrt(mean_square + eps))
        normed *= weight
        return normed

    def cos_sin(self, positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int) -> tuple[Array, Array]:
        """Return (cos, cos) and (-sin, sin), each `[tokens, 1, head_dim]`, for `rope`. Naive twin: `Plain.cos_sin`."""
        cosine, sine = super().cos_sin(positions, rope, head_dim)
        return np.concatenate([cosine, cosine], axis=-1), np.concatenate([-sine, sine], axis=-1)

    def rope(self, x: Array, cos_sin: tuple[Array, Array]) -> Array:
        """Return (a, b) * (cos, cos) + (b, a) * (-sin, sin), in four calls. Naive twin: `layers.apply_rope`."""
        cosine, signed_sine = cos_sin
        half = x.shape[-1] // 2
        swapped = np.concatenate([x[..., half:], x[..., :half]], axis=-1)
        swapped *= signed_sine
        swapped += x * cosine
        return swapped

    def swiglu(self, gate: Float[Array, "tokens inner"], up: Float[Array, "tokens inner"]) -> Array:
        """Return gate/2 * (1 + tanh(gate/2)) * up. Naive twin: `layers.swiglu`.

        It is computed in place, because in prefill these arrays are large.
        """
        half = gate * gate.dtype.type(0.5)
        product = np.tanh(half)
        product += 1
        product *= half
        product *= up
        return product

    def attention(
        self,
        q: Float[Array, "tokens heads head_dim"],
        k: Float[Array, "tokens kv_heads head_dim"],
        v: Float[Array, "tokens kv_heads head_dim"],
        batch: RaggedBatch,
        layer: int,
        window: int | None,
    ) -> Float[Array, "tokens heads*head_dim"]:
        """Attend with the queries of all sequences. Naive twin: `Plain.attention`.

        If every sequence has one new token, they share the NumPy calls of softmax.
        """
        if len(q) != len(batch.spans):
            return super().attention(q, k, v, batch, layer, window)
        for row, cache in enumerate(batch.caches):
            cache.write(layer, k[row : row + 1], v[row : row + 1])
        seen = []
        for cache in batch.caches:
            segments = cache.segments(layer, cache.length + 1)
            seen.append(segments if window is None else _seen(segments, cache.length, 1, window))
        return _attend_each(q, seen)

    def attend(
        self, q: Float[Array, "queries heads head_dim"], segments: Segments, start: int, window: int | None
    ) -> Float[Array, "queries heads*head_dim"]:
        """Attend in query tiles of 64 queries. Naive twin: `attention.attend`.

        A tile reads only the keys up to its last query. That halves the work of a prefill and needs little memory.
        """
        if len(q) == 1:
            return _attend_in_turn(q, [segments if window is None else _seen(segments, start, 1, window)])
        tiles = [slice(first, first + QUERY_TILE) for first in range(0, len(q), QUERY_TILE)]
        attention_output = [_attend_tile(q[tile], segments, start + tile.start, window) for tile in tiles]
        return attention_output[0] if len(attention_output) == 1 else np.concatenate(attention_output)


def _transposed(out: int, matrices: Iterable[Any]) -> Array:
    """Return matrices `[rows, inner]`, one below the other, as `[inner, out]`, stored row by row."""
    joined, end = np.empty((0, 0)), 0
    for matrix in matrices:
        joined = joined if end else np.empty((matrix.shape[1], out), matrix.dtype)
        copy_in_blocks(matrix.T, joined[:, end : end + len(matrix)])
        end += len(matrix)
        del matrix  # before the next one is read
    return joined


def _attend_each(q: Float[Array, "sequences heads head_dim"], seen: Sequence[Segments]) -> Array:
    """Attend with one query of each sequence, on several threads if reading the keys takes longer than waking them."""
    if sum(keys.nbytes for segments in seen for keys, _ in segments) < MANY_BYTES:
        return _attend_in_turn(q, seen)
    size = -(-len(q) // thread_count())  # sequences for each thread
    groups = [slice(first, first + size) for first in range(0, len(q), size)]
    attention_output = np.empty((len(q), q.shape[1] * q.shape[2]), q.dtype)

    def attend_group(number: int) -> None:
        attention_output[groups[number]] = _attend_in_turn(q[groups[number]], seen[groups[number]])

    run_tasks(attend_group, len(groups))
    return attention_output


def _attend_in_turn(q: Float[Array, "sequences heads head_dim"], seen: Sequence[Segments]) -> Array:
    """Attend with one query of each sequence, as in decode, on this thread.

    A single query sees all of its keys: it needs no mask, and matrix-vector products instead of matrix products. The
    scores of all sequences are stored one after another in one array, so softmax takes six calls, not six for each.
    """
    (sequences, heads, head_dim), kv_heads = q.shape, len(seen[0][0][0])
    q = (q * q.dtype.type(head_dim**-0.5)).reshape(sequences, kv_heads, heads // kv_heads, head_dim)
    lengths = [sum(keys.shape[1] for keys, _ in segments) for segments in seen]
    *starts, total = accumulate(lengths, initial=0)
    scores = np.empty((kv_heads, heads // kv_heads, total), q.dtype)  # `total`: the keys of all sequences
    by_segment, end = [], 0  # (sequence, its scores [kv_heads, group, keys], its values [kv_heads, keys, head_dim])
    for row, (query, segments) in enumerate(zip(q, seen, strict=True)):
        for keys, values in segments:
            start, end = end, end + keys.shape[1]
            np.matvec(keys[:, None], query, out=scores[..., start:end])
            by_segment.append((row, scores[..., start:end], values))
    scores -= np.repeat(np.maximum.reduceat(scores, starts, axis=-1), lengths, axis=-1)
    np.exp(scores, out=scores)
    attention_output = np.zeros_like(q)  # [sequences, kv_heads, group, head_dim]
    for row, weights, values in by_segment:
        attention_output[row] += np.vecmat(weights, values[:, None])
    attention_output /= np.add.reduceat(scores, starts, axis=-1).transpose(2, 0, 1)[..., None]
    return attention_output.reshape(sequences, heads * head_dim)


def _attend_tile(q: Array, segments: Segments, start: int, window: int | None) -> Array:
    """Attend with one query tile. The query heads that share a key head are stacked into one matrix and multiplied."""
    (queries, heads, head_dim), kv_heads = q.shape, len(segments[0][0])
    group = heads // kv_heads
    first_key = 0 if window is None else max(0, start - window + 1)
    segments = _seen(segments, start, queries, window)
    q = (q * q.dtype.type(head_dim**-0.5)).reshape(queries, kv_heads, group, head_dim)
    q = q.transpose(1, 2, 0, 3).reshape(kv_heads, group * queries, head_dim)
    scores = _join([q @ keys.swapaxes(-1, -2) for keys, _ in segments])  # [kv_heads, group * queries, keys]
    all_see = start if window is None else 0  # keys that every query sees: those before this tile
    hidden = ~causal_mask(queries, scores.shape[-1] - all_see, start - first_key - all_see, window)  # [queries, keys]
    np.copyto(scores.reshape(kv_heads, group, queries, -1)[..., all_see:], -np.inf, where=hidden)
    total = _exponentiate(scores)
    attention_output = _weighted_sum(scores, segments)  # [kv_heads, group * queries, head_dim]
    attention_output /= total
    attention_output = attention_output.reshape(kv_heads, group, queries, head_dim).transpose(2, 0, 1, 3)
    return attention_output.reshape(queries, heads * head_dim)


def _exponentiate(scores: Float[Array, "*batch keys"]) -> Float[Array, "*batch 1"]:
    """Replace scores by the numerators of softmax and return their sums.

    The caller divides the attention output by the sums. It is smaller than the scores, so this takes less time.
    """
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    return np.einsum("...k->...", scores)[..., None]  # three times as fast as `sum` along the last axis


def _weighted_sum(
    weights: Float[Array, "kv_heads rows keys"], segments: Segments
) -> Float[Array, "kv_heads rows head_dim"]:
    """Return the sum of weight * value over the keys of all segments."""
    ends = np.cumsum([keys.shape[1] for keys, _ in segments])
    sums = [weights[..., end - v.shape[1] : end] @ v for end, (_, v) in zip(ends, segments, strict=True)]
    return sum(sums[1:], start=sums[0])


def _seen(segments: Segments, start: int, queries: int, window: int | None) -> Segments:
    """Return the segments without the keys that none of these queries sees."""
    first, end = 0 if window is None else max(0, start - window + 1), start + queries
    kept, position = [], 0
    for keys, values in segments:
        seen = slice(max(0, first - position), max(0, end - position))
        if seen.start < min(seen.stop, keys.shape[1]):
            kept.append((keys[:, seen], values[:, seen]))
        position += keys.shape[1]
    return kept


def _join(arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)
