"""Model: a config, weights ready to multiply, a tokenizer and a backend. `loading/load.py` makes one from files."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.backends.plain import Plain
from minillm.config import ModelConfig
from minillm.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class LayerWeights:
    """One transformer layer. Matrices are as `ops.prepare` left them, from `[in, out]`; norms and biases are arrays.

    The q, k and v projections are one matrix, side by side, and so are gate and up: one product instead of three
    or two reads the input once. `qk_norm` has a row for each query head, then one for each key head.
    """

    attention_norm: Array
    qkv: Any
    qkv_bias: Array | None
    qk_norm: Array | None
    output: Any
    output_bias: Array | None
    mlp_norm: Array
    gate_up: Any
    gate_up_bias: Array | None
    down: Any
    down_bias: Array | None


@dataclass(frozen=True)
class Model:
    """A model that can run.

    Attributes:
        name: how it was called in `load`.
        config: the architecture.
        ops: the backend, which does the arithmetic.
        dtype: of weights, activations and caches.
        embedding: `[vocab, dim]`, a row for each token; as `ops.tie` left it if it is the head too.
        layer_weights: one entry for each layer, in order.
        final_norm: `[dim]`.
        head: prepared from `[dim, vocab]`.
    """

    name: str
    config: ModelConfig
    ops: Plain
    dtype: np.dtype[Any]
    embedding: Any
    layer_weights: tuple[LayerWeights, ...]
    final_norm: Array
    head: Any
    stored_tokenizer: Tokenizer | None

    def layers(self) -> Iterable[LayerWeights]:
        """The layers in order; `forward` asks for them one at a time."""
        return self.layer_weights

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to token ids and back.

        Raises:
            ValueError: the model's files have no tokenizer.
        """
        if self.stored_tokenizer is None:
            raise ValueError(
                f"{self.name} has no tokenizer.json, or none of a kind that is supported: pass token ids, not text"
            )
        return self.stored_tokenizer


def check_model(model: Any) -> None:
    """Raise ValueError unless this is a Model."""
    if not isinstance(model, Model):
        raise ValueError(f"model is of type {type(model).__name__}; expected a minillm.Model, as minillm.load gives")
