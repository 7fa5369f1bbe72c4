"""GgufTensor: one tensor of a GGUF file, in the order of rows and the names of formats that the engine uses.

RoPE rotates pairs of a head's numbers. llama.cpp orders the rows of q and k so that the pairs are neighbours, (0, 1),
(2, 3), ...; in Hugging Face files they are (i, i + half). `unpermute` restores the order of Hugging Face. Only files of
architecture `llama` are permuted. Qwen files are not.

    head_dim 4, rows in the file:       a0 b0 a1 b1     pairs (a0, b0) and (a1, b1)
    after unpermute:                    a0 a1 b0 b1

Quantised tensors consist of blocks of 32 weights. Three types of blocks hold the same numbers as a format of
`minillm/quantization/`, so they are taken as they are:

    type    block                                                   format
    Q8_0    scale (2 bytes), 32 numbers                             int8
    Q4_1    scale (2), minimum (2), 32 numbers in 16 bytes          int4
    Q4_0    scale (2), 32 numbers in 16 bytes                       int4 with minimum -8 * scale

They mean the gguf library's values to the bit, with one exception. Number 8 of Q4_0 with a negative scale is 0.0 here
(8 * scale - 8 * scale), and -0.0 there (0 * scale).

Tensors of other types are dequantised by the gguf library. Source: ggml's docs/gguf.md and ggml-quants.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.loading.gguf.header import TensorPlace
from minillm.loading.model_file import read_range, read_rows
from minillm.quantization import GROUP, Bfloat16, Float16, Int4, Int8, Matrix, Quantized

FLOATS = {"F32": "<f4", "F64": "<f8"}
FORMATS = {"BF16": "bfloat16", "F16": "float16", "Q8_0": "int8", "Q4_0": "int4", "Q4_1": "int4"}


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of a file whose header was checked; or a part of a matrix, `cut`.

    Attributes:
        path: the file.
        place: where the tensor is in the file.
        unpermute_heads: the number of heads if the rows are permuted, else 0.
        part: the rows and columns of a part; None for the whole tensor.
    """

    path: Path
    place: TensorPlace
    unpermute_heads: int
    part: tuple[range, range] | None = None

    def cut(self, rows: range, columns: range) -> "GgufTensor":
        """Return a part of a matrix: whole heads, if its rows are permuted. Blocks are read whole."""
        heads = self.unpermute_heads * len(rows) // self.shape[0]
        all_rows, all_columns = self.part or (range(self.shape[0]), range(self.shape[1]))
        part = all_rows[rows.start : rows.stop], all_columns[columns.start : columns.stop]  # also of a part
        return replace(self, unpermute_heads=heads, part=part)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape in Hugging Face's order, `[out, in]`. GGUF lists the axes in reverse."""
        return self.place.shape[::-1] if self.part is None else (len(self.part[0]), len(self.part[1]))

    @property
    def format(self) -> str:
        """Return the format that its type is; "float32" for types that are read as it."""
        return FORMATS.get(self._type().name, "float32")

    @property
    def rows_together(self) -> int:
        """Return the rows of a head if rows are permuted: they are permuted within their head."""
        return self.shape[0] // self.unpermute_heads if self.unpermute_heads else 1

    def read(self) -> Array:
        """Return the values as floats, dequantised if necessary.

        Raises:
            ValueError: the gguf library cannot dequantise this type, or the file has changed.
        """
        if self.format != "float32" and len(self.shape) == 2:
            return self._columns(self._blocks().dequantize())
        values = self._dequantized().reshape(*self.shape[:-1], -1)
        return self._columns(unpermute(values, self.unpermute_heads) if self.unpermute_heads else values)

    def stored(self) -> Matrix:
        """Return a matrix in its `format`, with the numbers that are in the file.

        Raises:
            ValueError: as `read`.
        """
        if self.format == "float32":
            return self.read()
        matrix = self._blocks()
        assert matrix.shape == self.shape, f"{self.place.name}: columns {self.part} cut a block"
        return matrix

    def _blocks(self) -> Quantized:
        """Return the rows in blocks; of a part, also the columns next to it in the same blocks."""
        rows = self._bytes().reshape(self.shape[0], -1)
        per_block, block_bytes = self._block()
        matrix = blocks(rows, self._type().name, rows.shape[1] // block_bytes * per_block)
        heads = self.unpermute_heads
        return matrix.with_arrays([unpermute(array, heads) for array in matrix.arrays()]) if heads else matrix

    def _columns(self, values: Array) -> Array:
        """Return the columns of this part, out of those of whole blocks."""
        if self.part is None:
            return values
        skipped = self.part[1].start % self._block()[0]
        return values[:, skipped : skipped + self.shape[1]]

    def _dequantized(self) -> Array:
        from gguf.quants import dequantize

        kind = self._type()
        if kind.name in FLOATS:
            return self._bytes().view(FLOATS[kind.name])
        try:
            return np.asarray(dequantize(self._bytes().reshape(math.prod(self.shape[:-1]), -1), kind))
        except NotImplementedError:
            expected = "; expected a type that the gguf library can dequantise, such as Q4_0 or Q8_0"
            raise ValueError(f"{self.path.name}: {self.place.name!r} is of type {kind.name}{expected}") from None

    def _type(self) -> Any:
        from gguf import GGMLQuantizationType

        return GGMLQuantizationType(self.place.kind)

    def _block(self) -> tuple[int, int]:
        """Return the weights and the bytes of a block: (1, 4) for F32, (32, 34) for Q8_0."""
        from gguf import GGML_QUANT_SIZES

        per_block, block_bytes = GGML_QUANT_SIZES[self._type()]
        return int(per_block), int(block_bytes)

    def _bytes(self) -> Array:
        place = self.place
        if self.part is None:
            return read_range(self.path, place.state, "u1", place.offset, (place.size,))
        (rows, columns), (per_block, block_bytes) = self.part, self._block()
        row_bytes = place.shape[0] // per_block * block_bytes
        first, end = columns.start // per_block, -(-columns.stop // per_block)
        offset = place.offset + rows.start * row_bytes + first * block_bytes
        part = (len(rows), (end - first) * block_bytes)
        return read_rows(self.path, place.state, "u1", offset, part, row_bytes).reshape(-1)


def blocks(rows: Array, kind: str, inner: int) -> Quantized:
    """Return the matrix that these bytes hold.

    Args:
        rows: `[out, bytes]`.
        kind: the name of a type of `FORMATS`.
        inner: weights in a row, a multiple of 32 if the type has blocks.
    """
    if kind == "BF16":
        return Bfloat16(rows.view("<u2"))
    if kind == "F16":
        return Float16(rows.view("<f2"))
    parts = rows.reshape(len(rows), inner // GROUP, -1)  # [out, groups, bytes of a block]
    scales = parts[..., :2].copy().view("<f2")[..., 0]  # [out, groups]
    if kind == "Q8_0":
        return Int8(parts[..., 2:].copy().view(np.int8).reshape(len(rows), inner), scales)
    if kind == "Q4_0":
        minimums = scales.astype(np.float32) * -8  # also a float16, unless it is too large for one
        narrow = np.abs(minimums).max() <= np.finfo(np.float16).max
        return Int4(parts[..., 2:].copy(), scales, minimums.astype(np.float16) if narrow else minimums, inner)
    return Int4(parts[..., 4:].copy(), scales, parts[..., 2:4].copy().view("<f2")[..., 0], inner)


def to_blocks(matrix: Quantized) -> Array:
    """Return the bytes that a GGUF file holds for a matrix, `[out, bytes]`: the inverse of `blocks`.

    Raises:
        ValueError: the matrix has float32 minimums, which only Q4_0 can express.
    """
    parts: list[Array]
    if isinstance(matrix, Bfloat16):
        return matrix.bits.view("u1")
    if isinstance(matrix, Int8):
        numbers = matrix.numbers.reshape(*matrix.scales.shape, GROUP)
        parts = [matrix.scales[..., None], numbers]
    elif isinstance(matrix, Int4) and matrix.minimums.dtype == np.float16:
        parts = [matrix.scales[..., None], matrix.minimums[..., None], matrix.pairs]
    else:
        raise ValueError(f"GGUF has no type for its blocks of {matrix.name}")
    joined = np.concatenate([np.ascontiguousarray(part).view("u1") for part in parts], axis=-1)
    return joined.reshape(len(joined), -1)


def permute(rows: Array, heads: int) -> Array:
    """Reorder the rows of each head: from Hugging Face's halves to llama.cpp's neighbouring pairs."""
    head_dim = len(rows) // heads
    return rows.reshape(heads, 2, head_dim // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def unpermute(rows: Array, heads: int) -> Array:
    """Reorder the rows of each head: from llama.cpp's neighbouring pairs to Hugging Face's halves."""
    head_dim = len(rows) // heads
    return rows.reshape(heads, head_dim // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
