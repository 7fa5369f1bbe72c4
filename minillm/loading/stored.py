"""Tensors of a checkpoint: their names without the layer, and their values in a format that was asked for."""

import re

from minillm.loading.checkpoint import StoredTensor
from minillm.quantization import Quantized, quantize


def in_format(tensor: StoredTensor, weights: str) -> Quantized:
    """Return a matrix in a format of fewer bits. Numbers that are stored in it are not rounded again.

    Raises:
        ValueError: a value cannot be expressed in the format.
    """
    if tensor.format == weights:
        matrix = tensor.stored()
        assert isinstance(matrix, Quantized)
        return matrix
    return quantize(tensor.read(), weights)


def part_of(name: str) -> str:
    """Return `mlp.up_proj.weight` for `model.layers.3.mlp.up_proj.weight`; a name outside a layer is unchanged."""
    return re.sub(r"^model\.layers\.\d+\.", "", name)
