"""Checkpoint: a model file of any kind after opening, before a backend prepares its weights.

Tensors have their Hugging Face names and shapes (`model.layers.0.self_attn.q_proj.weight`, `[out, in]`) for every kind
of file. They stay on disk until they are read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from minillm.arrays import Array
from minillm.config import ModelConfig
from minillm.quantization import Matrix
from minillm.text.tokenizer import Tokenizer


@runtime_checkable
class StoredTensor(Protocol):
    """One tensor in a file. The header that describes it has been checked against the file's size."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the lengths of the axes, `[out, in]` for a matrix."""
        ...

    @property
    def format(self) -> str:
        """Return the format of `quantization` that the file stores; "float32" for all others, which are read as it."""
        ...

    @property
    def rows_together(self) -> int:
        """Return the number of rows that `cut` does not separate: parts begin and end at its multiples."""
        ...

    def read(self) -> Array:
        """Return the values as floats. The array is a copy: the file may change afterwards."""
        ...

    def stored(self) -> Matrix:
        """Return a matrix in its `format`, with the numbers that are in the file. The arrays are copies."""
        ...

    def cut(self, rows: range, columns: range) -> "StoredTensor":
        """Return a part of a matrix. Only its bytes are read from the file."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk.

    Attributes:
        name: the name that the user gave, for messages.
        config: the architecture.
        tensors: by Hugging Face name; their values are still on disk.
        tokenizer: None if the files have none; the model then takes token ids only.
        no_tokenizer: why there is none, and what to do.
    """

    name: str
    config: ModelConfig
    tensors: Mapping[str, StoredTensor]
    tokenizer: Tokenizer | None
    no_tokenizer: str = ""
