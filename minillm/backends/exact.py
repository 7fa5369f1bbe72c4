"""The `exact` backend: whole numbers in float64, so that no schedule can change a single bit of the logits.

Rounding depends on the order of additions, and matrix libraries change the order with the shape of a batch, the
number of threads and the processor. Here no addition rounds. Numbers are first put on a *grid*: whole multiples of a
power of two, the step. A sum of products of grid numbers is a multiple of the product of the steps; as long as it
stays below 2**53 such multiples, float64 holds it, and every partial sum on the way, without rounding. So it comes out
the same in any order, and batches, chunks, pages, threads and libraries are only orders.

Three things make that hold for a whole model:

1. The step of a row depends on that row alone, never on its company.
2. Everything else is one operation per number, which IEEE 754 defines to the last bit (+, -, *, /, sqrt), or is made
   of such operations: `exp`, and the rotations of RoPE. NumPy's own exp, sin, cos and pow differ between processors.
3. Every bound is by construction, from the number of terms; the longest sums are limited by MOST_TERMS.

Rounding to a grid once is an error as small as float32's. The price is float64: twice the memory of float32, and about
half its speed. Fixed-point accumulation for reproducible sums: Demmel and Nguyen, Fast Reproducible Floating-Point
Summation, ARITH 2013.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.attention import Pieces, causal_mask
from minillm.backends.exact_functions import exp, rotation
from minillm.backends.plain import Plain
from minillm.config import RopeParameters

EXACT_BITS = 53  # whole numbers up to 2**53 are exact in float64
MOST_TERMS = 2**20  # keys that one query can see: 33 bits are left for each
WEIGHT_BITS, VALUE_BITS = 28, 23  # of attention's weights and of the values; 2 are spare, see _weights_on_grid
QUERY_TILE = 64


def on_grid(x: Float[Array, "*shape"], bits: int, axis: int = -1) -> Float[Array, "*shape"]:
    """Round to whole multiples of a step; along `axis`, the largest number is at most 2**bits steps.

    Adding 1.5 * 2**52 steps leaves no room for anything below a step, and taking it off again is exact. The readable
    twin is `np.rint(x / step) * step`.
    """
    push = 1.5 * 2**52 * grid_step(np.abs(x).max(axis, keepdims=True), bits)
    return (x + push) - push


def grid_step(largest: Float[Array, "*shape"], bits: int) -> Float[Array, "*shape"]:
    """The power of two of which numbers up to `largest` are at most 2**bits multiples."""
    return np.ldexp(1.0, np.frexp(largest)[1] - bits)


def exact_sum(x: Float[Array, "*batch terms"], most_terms: int) -> Float[Array, "*batch 1"]:
    """The sum of each row, in any order: 2**bits times the number of terms stays within 2**53."""
    assert x.shape[-1] <= most_terms, f"a sum of {x.shape[-1]} terms; exact up to {most_terms}"
    return on_grid(x, EXACT_BITS - bits_of(most_terms)).sum(axis=-1, keepdims=True)


def bits_of(terms: int) -> int:
    """How many bits a sum of so many terms is longer than its largest term; at least 3, which on_grid needs."""
    return max(3, (terms - 1).bit_length())


class Exact(Plain):
    """Every sum is exact, so every schedule gives the same bits. Always in float64."""

    name = "exact"
    dtype = np.dtype(np.float64)

    def __init__(self) -> None:
        """See to it that this machine's matrix product keeps the promise.

        Raises:
            OSError: it does not.
        """
        whole = np.random.default_rng(0).integers(-(2**20), 2**20, (2, 2048, 48))
        if not np.array_equal((whole[0].T.astype(float) @ whole[1].astype(float)), whole[0].T @ whole[1]):
            raise OSError("this NumPy's matrix product rounds whole numbers below 2**53; reinstall NumPy")

    def prepare(self, weight: Float[Array, "inner out"]) -> Any:
        """Columns on their grids, once. Activations get 4 bits more: rounding them costs more accuracy."""
        return on_grid(weight, self._bits(len(weight)) // 2 - 2, axis=0)

    def linear(self, x: Float[Array, "tokens inner"], weight: Any, bias: Any = None) -> Float[Array, "tokens out"]:
        """Rows on their grids times columns on theirs: `inner` terms of at most 2**bits steps, below 2**53."""
        bits = self._bits(x.shape[1])
        product = on_grid(x, bits - (bits // 2 - 2)) @ weight
        return product if bias is None else product + bias

    @staticmethod
    def _bits(inner: int) -> int:
        """What a product of one number and another may take: 42 of 53 for 2,048 terms."""
        return EXACT_BITS - bits_of(inner)

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """See layers.rms_norm; the sum of squares is exact."""
        width = x.shape[-1]
        return x / np.sqrt(exact_sum(x * x, width) / width + eps) * weight

    def swiglu(self, gate: Array, up: Array) -> Array:
        """See layers.swiglu."""
        return gate / (1 + exp(-gate)) * up

    def rotation(self, positions: Int[Array, "tokens"], rope: RopeParameters, head_dim: int) -> tuple[Array, Array]:
        """See layers.rope_rotation; the same bits on every processor."""
        return rotation(positions, rope, head_dim)

    def attention(self, q: Array, k: Array, v: Array, spans: Sequence[slice], caches: Sequence[Any], layer: int,
                  window: int | None) -> Array:  # fmt: skip
        """As in Plain, but keys and values go into the cache on their grids: rounded once, not at every step."""
        head_bits = (EXACT_BITS - bits_of(k.shape[-1])) // 2
        k, v = on_grid(k, head_bits), on_grid(v, VALUE_BITS)
        return super().attention(on_grid(q, head_bits), k, v, spans, caches, layer, window)

    def attend(self, q: Array, pieces: Pieces, start: int, window: int | None) -> Array:
        """See attention.attend; in tiles of queries, so that no square matrix of scores is made."""
        tiles = range(0, len(q), QUERY_TILE)
        return np.concatenate([self._attend(q[i : i + QUERY_TILE], pieces, start + i, window) for i in tiles])

    def _attend(self, q: Array, pieces: Pieces, start: int, window: int | None) -> Array:
        (queries, heads, head_dim), kv_heads = q.shape, len(pieces[0][0])
        q = q.reshape(queries, kv_heads, heads // kv_heads, head_dim).transpose(1, 2, 0, 3)
        pieces = _first(pieces, start + queries)
        scores = np.concatenate([q @ keys[:, None].swapaxes(-1, -2) for keys, _ in pieces], axis=-1)
        scores = np.where(causal_mask(queries, scores.shape[-1], start, window), scores * head_dim**-0.5, -np.inf)
        weights = np.where(np.isinf(scores), 0.0, exp(scores - scores.max(axis=-1, keepdims=True)))
        total = exact_sum(weights, MOST_TERMS)  # [kv_heads, group, queries, 1]
        rounded = _weights_on_grid(weights, pieces)
        ends = np.cumsum([keys.shape[1] for keys, _ in pieces])[:-1]
        mixed = np.zeros_like(q)
        for part, (_, values) in zip(np.split(rounded, ends, axis=-1), pieces, strict=True):
            mixed = mixed + part @ values[:, None]
        return (mixed / total).transpose(2, 0, 1, 3).reshape(queries, heads * head_dim)


def _weights_on_grid(weights: Float[Array, "kv_heads group queries keys"], pieces: Pieces) -> Array:
    """Attention's weights, rounded so that the sum of weight times value over the keys is exact.

    The values of each key are on a grid of their own: below `size`, a power of two, in steps of size * 2**-24 (or
    2**-23; rounding up to a power of two doubles the size). A weight is rounded to the step that makes weight * size a
    multiple of one step for the whole row, 2**-28 of the sum of weight * size. So the sum of weight * value stays
    below 2**52 multiples of the product of those steps, however many keys there are. Rounding adds at most half a
    step a key, 2**19 for MOST_TERMS keys, where the last bit has room for 2**28.
    """
    largest = np.concatenate([np.abs(values).max(axis=-1) for _, values in pieces], axis=-1)  # [kv_heads, keys]
    sizes = np.ldexp(1.0, np.frexp(largest)[1])[:, None, None]  # [kv_heads, 1, 1, keys]
    sized = weights * sizes
    push = 1.5 * 2**52 * grid_step(exact_sum(sized, MOST_TERMS), WEIGHT_BITS)  # [kv_heads, group, queries, 1]
    return ((sized + push) - push) / sizes


def _first(pieces: Pieces, keys: int) -> Pieces:
    """The pieces up to so many keys: later ones are masked for every query of the tile."""
    kept = []
    for piece_keys, piece_values in pieces:
        if keys > 0:
            kept.append((piece_keys[:, :keys], piece_values[:, :keys]))
        keys -= piece_keys.shape[1]
    return kept
