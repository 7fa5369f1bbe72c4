"""Checkpoint: what every kind of model file is opened as, before a backend prepares it.

Tensors keep their Hugging Face names and shapes (`model.layers.0.self_attn.q_proj.weight`, `[out, in]`) whatever
file they come from, and stay on disk until they are read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from minillm.arrays import Array
from minillm.config import ModelConfig
from minillm.text.tokenizer import Tokenizer


@runtime_checkable
class StoredTensor(Protocol):
    """One tensor in a file. The header that describes it has been checked against the file's size."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Axis lengths, `[out, in]` for a matrix."""
        ...

    def read(self) -> Array:
        """The values as floats; perhaps a read-only view of the file, which lives as long as the array does."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """A model as it lies on disk.

    Attributes:
        name: how the user called it, for messages.
        config: the architecture.
        tensors: by Hugging Face name, not read yet.
        tokenizer: None where the files have none; the model then takes token ids only.
    """

    name: str
    config: ModelConfig
    tensors: Mapping[str, StoredTensor]
    tokenizer: Tokenizer | None
