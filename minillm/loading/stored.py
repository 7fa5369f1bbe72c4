"""Tensors of a checkpoint: their names without the layer, and their values in a format that was asked for."""

import re
from collections.abc import Callable, Iterator

import numpy as np

from minillm.arrays import Array
from minillm.loading.checkpoint import StoredTensor
from minillm.quantization import Int4, Int8, Matrix, Quantized, join_rows, quantize, tiles

EMBEDDING_AND_HEAD = ("model.embed_tokens.weight", "lm_head.weight")
READ_BYTES = 4_000_000  # of float32 values of a matrix that are in memory while it is quantised, prepared or compared


def format_of(name: str, weights: str) -> str:
    """Return the format of a matrix if `weights` is asked for: in an int4 model, embedding and head have int8.

    A rounded head changes the logits directly. For smollm2 the head in int4 makes nearly all of the loss of int4: a KL
    divergence of 0.055 nats to float32, for 12 MB less. llama.cpp's files keep more bits there too.
    """
    return "int8" if weights == "int4" and name in EMBEDDING_AND_HEAD else weights


def in_format(
    name: str, tensor: StoredTensor, weights: str, quantize: Callable[[Array, str], Quantized] = quantize
) -> Quantized:
    """Return a matrix in its format, if `weights` is asked for. Numbers that are stored in it are not rounded again.

    It is read a few rows at a time, so that it is never in memory in float32.

    Args:
        name: of the tensor.
        tensor: the matrix.
        weights: the format that was asked for.
        quantize: rounds rows to a format; a backend has its own.

    Raises:
        ValueError: a value cannot be expressed in the format, or a stored scale is not finite.
    """
    kind = format_of(name, weights)
    if tensor.format == kind:
        matrix = as_stored(tensor)
        assert isinstance(matrix, Quantized)
        return matrix
    quantized = join_rows(tensor.shape[0], (quantize(rows.read(), kind) for rows in in_tiles(tensor)))
    assert isinstance(quantized, Quantized)
    return quantized


def as_stored(tensor: StoredTensor) -> Matrix:
    """Return a matrix in the format and with the numbers that are in the file.

    Raises:
        ValueError: a scale or a minimum is not finite.
    """
    matrix = tensor.stored()
    if isinstance(matrix, Int8 | Int4):
        factors = [matrix.scales] if isinstance(matrix, Int8) else [matrix.scales, matrix.minimums]
        if not all(np.isfinite(factor).all() for factor in factors):
            raise ValueError("a scale or a minimum of its blocks is infinite or not a number")
    return matrix


def in_tiles(tensor: StoredTensor) -> Iterator[StoredTensor]:
    """Return a matrix a few rows at a time, the first rows first."""
    columns = range(tensor.shape[1])
    for rows in tiles(tensor, READ_BYTES, tensor.rows_together):
        yield tensor.cut(range(rows.start, rows.stop), columns)


def part_of(name: str) -> str:
    """Return `mlp.up_proj.weight` for `model.layers.3.mlp.up_proj.weight`; a name outside a layer is unchanged."""
    return re.sub(r"^model\.layers\.\d+\.", "", name)
