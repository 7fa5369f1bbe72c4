"""Model: a config, weights ready to multiply, a tokenizer and a backend. `loading/load.py` makes one from files.

The engine joins matrices that read the same input, so one product replaces two or three. Its names, and those of the
files, which `reference.py` uses:

    attention_norm   input_layernorm            mlp_norm   post_attention_layernorm
    qkv              self_attn.{q,k,v}_proj     gate_up    mlp.{gate,up}_proj
    qk_norm          self_attn.{q,k}_norm       down       mlp.down_proj
    output           self_attn.o_proj
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minillm.arrays import Array, Int
from minillm.backends.plain import Plain
from minillm.config import ModelConfig
from minillm.estimate.parameters import parameters
from minillm.streaming import StreamedEmbedding, StreamedLayers
from minillm.support.wording import counted
from minillm.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class LayerWeights:
    """The weights of one transformer layer.

    A matrix is `[in, out]`, in the layout and format that `ops.prepare` chose. `qkv` has the columns of q, then k, then
    v, and `gate_up` those of gate, then up. `qk_norm` has a row for each query head, then one for each key head. A part
    that the model does not have is None.
    """

    attention_norm: Array  # [dim]
    qkv: Any  # [dim, (heads + 2 * kv_heads) * head_dim]
    qkv_bias: Array | None
    qk_norm: Array | None  # [heads + kv_heads, head_dim]
    output: Any  # [heads * head_dim, dim]
    output_bias: Array | None
    mlp_norm: Array  # [dim]
    gate_up: Any  # [dim, 2 * inner]
    gate_up_bias: Array | None
    down: Any  # [inner, dim]
    down_bias: Array | None


@dataclass(frozen=True, repr=False)
class Model:
    """A model that can run; `minillm.load` makes one.

    Attributes:
        name: the name given to `load`.
        config: the architecture.
        ops: the backend, which does the arithmetic.
        dtype: of weights, activations and caches.
        embedding: `[vocab, dim]`, a row for each token; the head's memory, if they are tied. A `StreamedEmbedding` in
            a streamed model in which they do not share it.
        layer_weights: the weights of each layer, in order: a tuple, or `StreamedLayers`.
        final_norm: `[dim]`.
        head: what `ops.prepare` made of `[dim, vocab]`.
        stored_tokenizer: None if the files have no tokenizer.
        no_tokenizer: why they have none, and what to do.
        weights: the format of the matrices, as it was given to `load`.

    Example:
        >>> model = minillm.load("story")
        >>> model
        Model('story', 2.76 M parameters, 6 layers, context 512, backend numpy, float32)
    """

    name: str
    config: ModelConfig
    ops: Plain
    dtype: np.dtype[Any]
    embedding: Any
    layer_weights: Sequence[LayerWeights]
    final_norm: Array
    head: Any
    stored_tokenizer: Tokenizer | None
    no_tokenizer: str = ""
    weights: str = "float32"

    def __repr__(self) -> str:
        config = self.config
        size = f"{parameters(config) / 1e6:.2f} M parameters, {counted(config.num_hidden_layers, 'layer')}"
        context = f"context {config.max_position_embeddings}"
        weights = "" if self.weights == "float32" else f", weights {self.weights}"
        streamed = ", layers streamed" if self.streamed else ""
        return f"Model({self.name!r}, {size}, {context}, backend {self.ops.name}, {self.dtype}{weights}{streamed})"

    def layers(self, first: int = 0, end: int | None = None) -> Iterable[LayerWeights]:
        """Return the layers from `first` to `end - 1`, by default all. `forward` asks for them one at a time."""
        return self.layer_weights[first:end]

    def with_layers(self, numbers: Sequence[int]) -> "Model":
        """Return the model with these layers alone. It shares their weights.

        Raises:
            ValueError: its layers are on several ranks.
        """
        if not self.ops.skips_layers:
            raise ValueError("a pipeline runs all layers of its model; pass another draft model, or PromptLookup()")
        windows = tuple(self.config.sliding_windows[number] for number in numbers)
        config = replace(self.config, num_hidden_layers=len(numbers), sliding_windows=windows)
        layers = self.layer_weights
        if isinstance(layers, StreamedLayers):
            return replace(self, config=config, layer_weights=layers.only(numbers))
        return replace(self, config=config, layer_weights=tuple(layers[number] for number in numbers))

    @property
    def streamed(self) -> bool:
        """Whether the layers stay in the file, and each forward pass reads them from there."""
        return not isinstance(self.layer_weights, tuple)

    @contextmanager
    def shared_by(self, threads: int) -> Iterator["Model"]:
        """Provide the model for one forward pass that `threads` threads make together.

        A streamed model then reads each layer once for all of them.
        """
        if not isinstance(self.layer_weights, StreamedLayers):
            yield self
            return
        together = self.layer_weights.one_pass(threads)
        try:
            yield replace(self, layer_weights=together)
        finally:
            together.end()

    def embedding_of(self, tokens: Int[Array, "tokens"]) -> tuple[Any, Int[Array, "tokens"]]:
        """Return a table for `ops.embed`, and the row of each token in it. Of a streamed table only those are read."""
        if isinstance(self.embedding, StreamedEmbedding):
            return self.embedding.rows_of(self.ops.to_host(tokens))
        return self.embedding, tokens

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer: text to token ids and back.

        Raises:
            ValueError: the model's files have no tokenizer.
        """
        if self.stored_tokenizer is None:
            why = f"; {self.no_tokenizer}" if self.no_tokenizer else ""
            raise ValueError(
                f"{self.name} has no tokenizer.json, or none of a kind that is supported: pass token ids, not text{why}"
            )
        return self.stored_tokenizer


def check_model(model: Any) -> None:
    """Raise ValueError unless this is a Model."""
    if not isinstance(model, Model):
        raise ValueError(f"model is of type {type(model).__name__}; expected a minillm.Model, as minillm.load gives")
