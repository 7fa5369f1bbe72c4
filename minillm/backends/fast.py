"""The `numpy` backend: the same arithmetic as `plain`, with the NumPy calls that are fastest on ordinary processors.

Every method here has its readable twin in `plain`, `layers` or `attention`, and a test that holds the two together.
A decode step is limited by how fast the weights are read from memory, so what counts is their layout and, between the
products, few calls: each costs a microsecond or more, thirty layers a token. Prefill is limited by the products too,
then by exponentials, so what counts is not to compute what the mask hides.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.attention import Segments, causal_mask
from minillm.backends.layout import copy_in_blocks
from minillm.backends.plain import Plain
from minillm.backends.side_by_side import side_by_side
from minillm.backends.strips import copies_nothing, fits_in_strips, multiply_in_strips
from minillm.backends.threads import share, thread_count
from minillm.backends.tiles import TiledWeight, tiling_pays
from minillm.config import RopeParameters
from minillm.ragged_batch import RaggedBatch

QUERY_TILE = 64
MANY_BYTES = 12_000_000  # of keys: so many take about a millisecond to read
FEW_ROWS = range(2, 4)  # with more, one matrix product is faster than a matrix-vector product for each row
STRIP_ROWS = range(4, 13)  # with more, to copy the matrix takes less time than the product
SOME_ROWS = range(4, 65)  # with more, the transposed product gains nothing


class Fast(Plain):
    """Weights in the layout that reads fastest; prefill in tiles, so that no square matrix of scores is ever made."""

    name = "numpy"

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """Many rows are shared out among threads."""
        return side_by_side(compute, model, batch)

    def prepare(self, weight: Float[Array, "inner out"]) -> Any:
        """In tiles where the processor is fast with them, else contiguous along the longer axis.

        OpenBLAS reads long runs up to 40% faster in a matrix-vector product. Files hold `[out, inner]`: a matrix whose
        `inner` is the longer axis stays as it is.
        """
        if weight.dtype == np.float32 and tiling_pays():
            return TiledWeight(weight)
        inner, out = weight.shape
        if inner > out or weight.flags.c_contiguous:
            return weight
        copy = np.empty((inner, out), weight.dtype)
        copy_in_blocks(weight, copy)
        return copy

    def tie(self, embedding: Float[Array, "vocab dim"]) -> tuple[Any, Any]:
        """One copy, as the head wants it: a step reads all of it for the logits, and one column for the embedding."""
        head = self.prepare(embedding.T)
        return head if isinstance(head, TiledWeight) else head.T, head

    def embed(self, embedding: Any, tokens: Int[Array, "tokens"]) -> Float[Array, "tokens dim"]:
        """Rows of an array, or columns of a head in tiles."""
        return embedding.columns(tokens) if isinstance(embedding, TiledWeight) else embedding[tokens]

    def linear(self, x: Float[Array, "tokens inner"], weight: Any, bias: Any = None) -> Float[Array, "tokens out"]:
        """x @ weight, by the way that is fastest for so many rows and such a layout.

        OpenBLAS copies the whole matrix even to multiply two rows with it; so two or three are multiplied one by one,
        and some more strip by strip, where the processor has kernels for that. A matrix in the file's order lies as
        `[out, inner]`, row by row, and with that on the left it takes less time.
        """
        if isinstance(weight, TiledWeight):
            product = weight.multiply(x)
        elif len(x) in FEW_ROWS:
            product = np.vecmat(x, weight)
        elif len(x) in STRIP_ROWS and copies_nothing() and fits_in_strips(len(x), weight):
            product = multiply_in_strips(x, weight)
        elif len(x) in SOME_ROWS and weight.flags.f_contiguous:
            product = (weight.T @ x.T).T  # 40% less time at 8 rows
        else:
            product = x @ weight
        return product if bias is None else product + bias

    def rms_norm(self, x: Float[Array, "*batch dim"], weight: Array, eps: float) -> Float[Array, "*batch dim"]:
        """See layers.rms_norm; `vecdot` squares and sums in one call."""
        mean_square = np.vecdot(x, x)[..., None] / x.shape[-1]  # [*batch, 1]
        normed = x * (1 / np.sqrt(mean_square + eps))
        normed *= weight
        return normed

    def cos_sin(self, positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int) -> tuple[Array, Array]:
        """Cosine and signed sine for all of a head, `[tokens, 1, head_dim]`, as `rope` below wants them."""
        cosine, sine = super().cos_sin(positions, rope, head_dim)
        return np.concatenate([cosine, cosine], axis=-1), np.concatenate([-sine, sine], axis=-1)

    def rope(self, x: Array, cos_sin: tuple[Array, Array]) -> Array:
        """See layers.apply_rope: (a, b) * (cos, cos) + (b, a) * (-sin, sin), in four calls."""
        cosine, signed_sine = cos_sin
        half = x.shape[-1] // 2
        swapped = np.concatenate([x[..., half:], x[..., :half]], axis=-1)
        swapped *= signed_sine
        swapped += x * cosine
        return swapped

    def swiglu(self, gate: Float[Array, "tokens inner"], up: Float[Array, "tokens inner"]) -> Array:
        """See layers.swiglu: gate/2 * (1 + tanh(gate/2)) * up, in place, since in prefill these are large arrays."""
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
        spans: Sequence[slice],
        caches: Sequence[Any],
        layer: int,
        window: int | None,
    ) -> Float[Array, "tokens heads*head_dim"]:
        """Sequences with one new token each share the calls of softmax."""
        if len(q) != len(spans):
            return super().attention(q, k, v, spans, caches, layer, window)
        for row, cache in enumerate(caches):
            cache.write(layer, k[row : row + 1], v[row : row + 1])
        seen = []
        for cache in caches:
            segments = cache.segments(layer, cache.length + 1)
            seen.append(segments if window is None else _seen(segments, cache.length, 1, window))
        return _attend_each(q, seen)

    def attend(
        self, q: Float[Array, "queries heads head_dim"], segments: Segments, start: int, window: int | None
    ) -> Float[Array, "queries heads*head_dim"]:
        """Tiles of 64 queries, each over no more keys than its last query sees: half the work, and little memory."""
        if len(q) == 1:
            return _attend_in_turn(q, [segments if window is None else _seen(segments, start, 1, window)])
        tiles = [slice(first, first + QUERY_TILE) for first in range(0, len(q), QUERY_TILE)]
        mixed = [_attend_tile(q[tile], segments, start + tile.start, window) for tile in tiles]
        return mixed[0] if len(mixed) == 1 else np.concatenate(mixed)


def _attend_each(q: Float[Array, "sequences heads head_dim"], seen: Sequence[Segments]) -> Array:
    """One query of each sequence; threads share the sequences if there is more to read than it takes to wake them."""
    if sum(keys.nbytes for segments in seen for keys, _ in segments) < MANY_BYTES:
        return _attend_in_turn(q, seen)
    size = -(-len(q) // thread_count())  # sequences of a thread
    shares = [slice(first, first + size) for first in range(0, len(q), size)]
    mixed = np.empty((len(q), q.shape[1] * q.shape[2]), q.dtype)

    def attend_share(number: int) -> None:
        mixed[shares[number]] = _attend_in_turn(q[shares[number]], seen[shares[number]])

    share(attend_share, len(shares))
    return mixed


def _attend_in_turn(q: Float[Array, "sequences heads head_dim"], seen: Sequence[Segments]) -> Array:
    """One query a sequence, as in decode, sees all of its keys: no mask, and matrix-vector products for thin matrices.

    The scores of all sequences lie side by side in one array, so that softmax takes six calls, not six for each.
    """
    (sequences, heads, head_dim), kv_heads = q.shape, len(seen[0][0][0])
    q = (q * q.dtype.type(head_dim**-0.5)).reshape(sequences, kv_heads, heads // kv_heads, head_dim)
    lengths = [sum(keys.shape[1] for keys, _ in segments) for segments in seen]
    *starts, total = accumulate(lengths, initial=0)
    scores = np.empty((kv_heads, heads // kv_heads, total), q.dtype)  # `total`: the keys of all sequences
    parts, end = [], 0  # of each piece: whose it is, [kv_heads, group, keys] of the scores, [kv_heads, keys, head_dim]
    for row, (query, segments) in enumerate(zip(q, seen, strict=True)):
        for keys, values in segments:
            start, end = end, end + keys.shape[1]
            np.matvec(keys[:, None], query, out=scores[..., start:end])
            parts.append((row, scores[..., start:end], values))
    scores -= np.repeat(np.maximum.reduceat(scores, starts, axis=-1), lengths, axis=-1)
    np.exp(scores, out=scores)
    mixed = np.zeros_like(q)
    for row, weights, values in parts:
        mixed[row] += np.vecmat(weights, values[:, None])
    mixed /= np.add.reduceat(scores, starts, axis=-1).transpose(2, 0, 1)[..., None]  # [sequences, kv_heads, group, 1]
    return mixed.reshape(sequences, heads * head_dim)


def _attend_tile(q: Array, segments: Segments, start: int, window: int | None) -> Array:
    """Many queries: the query heads that share a key head are one tall matrix, which is multiplied at once."""
    (queries, heads, head_dim), kv_heads = q.shape, len(segments[0][0])
    group = heads // kv_heads
    first_key = 0 if window is None else max(0, start - window + 1)
    segments = _seen(segments, start, queries, window)
    q = (q * q.dtype.type(head_dim**-0.5)).reshape(queries, kv_heads, group, head_dim)
    q = q.transpose(1, 2, 0, 3).reshape(kv_heads, group * queries, head_dim)
    scores = _join([q @ keys.swapaxes(-1, -2) for keys, _ in segments])  # [kv_heads, group * queries, keys]
    all_see = start if window is None else 0  # so many keys: those of earlier tiles
    hidden = ~causal_mask(queries, scores.shape[-1] - all_see, start - first_key - all_see, window)  # [queries, keys]
    np.copyto(scores.reshape(kv_heads, group, queries, -1)[..., all_see:], -np.inf, where=hidden)
    total = _exponentiate(scores)
    mixed = _mix(scores, segments)  # [kv_heads, group * queries, head_dim]
    mixed /= total
    mixed = mixed.reshape(kv_heads, group, queries, head_dim).transpose(2, 0, 1, 3)
    return mixed.reshape(queries, heads * head_dim)


def _exponentiate(scores: Float[Array, "*batch keys"]) -> Float[Array, "*batch 1"]:
    """The numerators of softmax, in place; returns their sums, by which the caller divides the smaller result."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    return np.einsum("...k->...", scores)[..., None]  # three times as fast as `sum` along the last axis


def _mix(weights: Float[Array, "kv_heads rows keys"], segments: Segments) -> Float[Array, "kv_heads rows head_dim"]:
    """The sum of weight * value over the keys of all segments."""
    ends = np.cumsum([keys.shape[1] for keys, _ in segments])
    parts = [weights[..., end - v.shape[1] : end] @ v for end, (_, v) in zip(ends, segments, strict=True)]
    return sum(parts[1:], start=parts[0])


def _seen(segments: Segments, start: int, queries: int, window: int | None) -> Segments:
    """Only the keys that one of these queries sees."""
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
