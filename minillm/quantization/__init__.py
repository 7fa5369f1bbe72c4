"""Quantisation: weights in 16, 8 and 4 bits. `quantized.py` says what a format is; each format has its own page.

Decoding is limited by how fast the weights are read, so weights in fewer bits take less memory and, with loops that
compute from them as they are stored, less time. What is lost is the rounding of each weight.

The naive twin of every product with a quantised matrix is the sentence "dequantise, then multiply":

    multiply(x, w)  =  x @ dequantize(w).T

Article: "Quantization". Source of the idea for language models: Dettmers et al., LLM.int8(), 2208.07339.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from minillm.arrays import Array, Float
from minillm.quantization.bfloat16 import Bfloat16, Float16
from minillm.quantization.int4 import Int4
from minillm.quantization.int8 import Int8
from minillm.quantization.quantized import GROUP, Quantized

__all__ = [
    "BYTES_PER_WEIGHT", "FORMATS", "GROUP", "Bfloat16", "Float16", "Int4", "Int8", "Matrix", "Quantized",
    "dequantize", "multiply", "quantize", "stack",
]  # fmt: skip

CLASSES: dict[str, type[Bfloat16] | type[Int8] | type[Int4]] = {"bfloat16": Bfloat16, "int8": Int8, "int4": Int4}
FORMATS = ("float32", *CLASSES)
# A scale has 2 bytes for 32 weights, a minimum too.
BYTES_PER_WEIGHT = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1 + 2 / 32, "int4": 0.5 + 4 / 32}
TILE_BYTES = 500_000  # of dequantised weights: they fit into the nearer caches of a processor

Matrix = Array | Quantized  # `[out, in]`


def quantize(values: Float[Array, "out in"], weights: str) -> Quantized:
    """Round a matrix to a format: "bfloat16", "int8" or "int4".

    Raises:
        ValueError: no format has this name, or a value cannot be expressed in it.

    Example:
        >>> w = quantize(np.array([[0.31, -0.02, 1.27]]), "int8")
        >>> w.numbers.tolist(), w.dequantize().astype(float).round(2).tolist()
        ([[31, -2, 127]], [[0.31, -0.02, 1.27]])
    """
    if weights not in CLASSES:
        raise ValueError(f"weights is {weights!r}; expected one of {', '.join(CLASSES)}")
    quantized = join_rows(len(values), (CLASSES[weights].of(values[rows]) for rows in tiles(values)))
    assert isinstance(quantized, Quantized)
    return quantized


def join_rows(out: int, parts: Iterable[Matrix]) -> Matrix:
    """Return the matrix of `out` rows that these parts of one format are, one below the other.

    Each part is asked for when the one before is copied, so nothing else as large as the matrix is in memory.
    """
    whole: list[Array] = []
    like, end = None, 0
    for part in parts:
        if part.shape[0] == out:
            return part
        arrays = part.arrays() if isinstance(part, Quantized) else (part,)
        whole = whole or [np.empty((out, *array.shape[1:]), array.dtype) for array in arrays]
        # Minimums of a later part may need float32, if those of the first one fit into float16.
        whole = [w.astype(np.promote_types(w.dtype, a.dtype), copy=False) for w, a in zip(whole, arrays, strict=True)]
        for all_rows, array in zip(whole, arrays, strict=True):
            all_rows[end : end + part.shape[0]] = array
        end += part.shape[0]
        like = part.take(slice(0)) if isinstance(part, Quantized) else None
        del part, arrays, array  # before the next one is read
    return whole[0] if like is None else like.with_arrays(whole)


def dequantize(matrix: Matrix) -> Float[Array, "out in"]:
    """Return the values: in float32 if the matrix is quantised, unchanged if it is an array of floats."""
    return matrix.dequantize() if isinstance(matrix, Quantized) else matrix


def multiply(x: Float[Array, "rows in"], matrices: Sequence[Matrix]) -> Float[Array, "rows out"]:
    """Return x @ dequantize(w).T for the matrices w, one below the other, in the dtype of x.

    It dequantises a tile of rows at a time, which stays in the processor's cache until it has been multiplied. So no
    second copy of the weights is ever in memory.

    Example:
        >>> w = quantize(np.array([[0.31, -0.02, 1.27]]), "int8")
        >>> multiply(np.array([[1.0, 1.0, 1.0]]), [w]).round(2).tolist()
        [[1.56]]
    """
    products = [x @ dequantize(part).astype(x.dtype, copy=False).T for part in all_tiles(matrices)]
    return np.concatenate(products, axis=1)


def stack(parts: Sequence[Matrix]) -> list[Matrix]:
    """Join matrices of the same row length, one below the other. Neighbours of one format become one matrix.

    A GGUF file may store q in 4 bits and v in 8, so there can be several.
    """
    return [_joined(list(same)) for _, same in groupby(parts, type)]


def _joined(parts: list[Matrix]) -> Matrix:
    first, quantized = parts[0], [part for part in parts if isinstance(part, Quantized)]
    if len(parts) == 1:
        return first
    if not isinstance(first, Quantized):
        return np.concatenate([dequantize(part) for part in parts])
    arrays = zip(*(part.arrays() for part in quantized), strict=True)
    return first.with_arrays([np.concatenate(same) for same in arrays])


def tiles(matrix: Any, most_bytes: int | None = None, together: int = 1) -> list[slice]:
    """Return the slices that cut the rows of a matrix into tiles of at most `most_bytes` (TILE_BYTES) in float32.

    A tile has a multiple of `together` rows: at least these, even if they are more than `most_bytes`.
    """
    out, inner = matrix.shape
    rows = together * max(1, (most_bytes or TILE_BYTES) // (4 * max(1, inner * together)))
    return [slice(first, min(first + rows, out)) for first in range(0, max(1, out), rows)]


def all_tiles(matrices: Sequence[Matrix]) -> list[Matrix]:
    """Return the matrices cut into tiles, without copying."""
    return [
        matrix.take(rows) if isinstance(matrix, Quantized) else matrix[rows]
        for matrix in matrices
        for rows in tiles(matrix)
    ]
