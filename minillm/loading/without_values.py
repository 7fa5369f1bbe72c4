"""Tensors without values: to check the names and shapes of a model's layers before any of them is read."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from minillm.arrays import Array
from minillm.backends.plain import Plain
from minillm.quantization import Matrix

Reader = TypeVar("Reader", bound=Any)  # build.TensorReader


def without_values(read: Reader) -> Reader:
    """Return a reader that checks what it is asked for, and records the names, but reads nothing."""
    checker = copy(read)
    checker.tensors = {name: BlankTensor(tensor.shape, read.dtype) for name, tensor in read.tensors.items()}
    checker.ops, checker.weights = NoArrays(), "float32"
    return checker


@dataclass(frozen=True)
class BlankTensor:
    """A tensor of zeros that takes no memory: all of them are one number."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    format, rows_together = "float32", 1

    def read(self) -> Array:
        """Return the zeros."""
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)

    def stored(self) -> Matrix:
        """Return the zeros."""
        return self.read()

    def cut(self, rows: range, columns: range) -> "BlankTensor":
        """Return a part of the zeros."""
        return BlankTensor((len(rows), len(columns)), self.dtype)


class NoArrays(Plain):
    """A backend that prepares nothing."""

    def prepare(self, parts: Sequence[Matrix]) -> Any:
        """Return None."""
        return None

    def prepare_tiles(self, out: int, tiles: Iterable[Matrix]) -> Any:
        """Ask for each tile, which is checked. Return None."""
        for _ in tiles:
            pass

    def array(self, values: Any, dtype: Any = None) -> Any:
        """Return None."""
        return None
