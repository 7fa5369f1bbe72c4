"""Build a model: read a checkpoint's tensors, check their shapes, and let the backend choose their layout.

Files and `reference.py` use the names of Hugging Face. The engine uses the names of `model.py`, where matrices that
multiply the same input are joined:

    Hugging Face                                          minillm
    model.embed_tokens.weight                             Model.embedding
    model.layers.N.input_layernorm.weight                 LayerWeights.attention_norm
    model.layers.N.self_attn.{q,k,v}_proj.weight          LayerWeights.qkv, side by side in this order
    model.layers.N.self_attn.{q,k}_norm.weight            LayerWeights.qk_norm, one row for each head
    model.layers.N.self_attn.o_proj.weight                LayerWeights.output
    model.layers.N.post_attention_layernorm.weight        LayerWeights.mlp_norm
    model.layers.N.mlp.{gate,up}_proj.weight              LayerWeights.gate_up, side by side in this order
    model.layers.N.mlp.down_proj.weight                   LayerWeights.down
    model.norm.weight                                     Model.final_norm
    lm_head.weight (embed_tokens if they are tied)        Model.head

A bias has its matrix's name with `bias` instead of `weight`. Biases are joined as their matrices are, with zeros for
one that the file does not have. `settle.py` has decided which optional tensors there are.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.backends.memory import KEPT, return_freed_memory
from minillm.backends.plain import Plain
from minillm.config import ModelConfig
from minillm.estimate.parameters import layer_matrices
from minillm.loading.checkpoint import Checkpoint, StoredTensor
from minillm.loading.model_kinds import tensors_seem
from minillm.loading.model_part import ModelPart
from minillm.loading.settle import group_of, reason
from minillm.loading.stored import as_stored, in_format, in_tiles, part_of
from minillm.loading.without_values import without_values
from minillm.model import LayerWeights, Model
from minillm.quantization import Matrix, stack
from minillm.streaming import StreamedEmbedding, StreamedLayers
from minillm.support.wording import counted

MOST_COMPARED = 500  # names; a file may have 100,000


def build(
    checkpoint: Checkpoint,
    ops: Plain,
    dtype: np.dtype[Any],
    weights: str = "float32",
    part: ModelPart | None = None,
    streamed: bool = False,
) -> Model:
    """Read a checkpoint's tensors, check each shape against the config, and let the backend prepare them.

    Args:
        checkpoint: the files.
        ops: the backend.
        dtype: of activations, and of weights that are not quantised.
        weights: the format of the matrices: one of `quantization.FORMATS`, or "stored" for those of the file.
        part: what this process holds, and the checkpoint has; by default the whole model. What it lacks is None.
        streamed: leave the layers in the file; and the embedding, unless it is the head too.
    """
    config = checkpoint.config
    part = part or ModelPart(range(config.num_hidden_layers))
    read = TensorReader(checkpoint, ops, dtype, weights)
    table, head = _embedding_and_head(read, config, part, streamed)
    layers = _streamed_layers(read, config) if streamed else tuple(_layer(read, config, each) for each in part.layers)
    final_norm = read("model.norm.weight", config.hidden_size)
    read.warn_of_unused()
    tokenizer = checkpoint.tokenizer, checkpoint.no_tokenizer
    return Model(checkpoint.name, config, ops, dtype, table, layers, final_norm, head, *tokenizer, weights)


def _embedding_and_head(read: "TensorReader", config: ModelConfig, part: ModelPart, streamed: bool) -> tuple[Any, Any]:
    """Return the embedding and the head; None for what the part lacks. They share their memory if they can.

    The head is the largest matrix of most models. It is read some rows at a time, so it is in memory only once.
    """
    shape, ops, name = (config.vocab_size, config.hidden_size), read.ops, "model.embed_tokens.weight"
    head_name = name if config.tie_word_embeddings else "lm_head.weight"
    if part.has_embedding:
        read.stored(name, *shape)  # if it is missing, it is the first to be named
    head = ops.prepare_tiles(shape[0], read.tiles(head_name, *shape)) if part.has_head else None
    table = ops.embedding_of(head) if part.has_head and config.tie_word_embeddings else None
    if part.has_embedding and table is None:
        table = _streamed_embedding(read, config) if streamed else ops.prepare_embedding(read.part(name, *shape))
    return table if part.has_embedding else None, head


def _streamed_embedding(read: "TensorReader", config: ModelConfig) -> StreamedEmbedding:
    name, columns = "model.embed_tokens.weight", range(config.hidden_size)
    tensor = read.stored(name, config.vocab_size, config.hidden_size)

    def read_rows(tokens: list[int]) -> Any:
        rows = [read.values(name, tensor.cut(range(token, token + 1), columns)) for token in tokens]
        return read.ops.prepare_embedding(stack(rows)[0])

    return StreamedEmbedding(read_rows)


def _streamed_layers(read: "TensorReader", config: ModelConfig) -> StreamedLayers:
    """Return the layers, still in the file. Their tensors are there, with the right shapes, or this raises."""
    numbers = range(config.num_hidden_layers)
    checked = without_values(read)
    for number in numbers:
        _layer(checked, config, number)
    large = layer_matrices(config) > KEPT  # a weight takes at least about a byte

    def read_layer(number: int) -> LayerWeights:
        if large:  # after small layers the C library keeps little, and asking for that memory again takes longer
            return_freed_memory()
        return _layer(read, config, number)

    return StreamedLayers(read_layer, numbers)


def _layer(read: "TensorReader", config: ModelConfig, number: int) -> LayerWeights:
    dim, inner, d, ops = config.hidden_size, config.intermediate_size, config.head_dim, read.ops
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    name = f"model.layers.{number}."
    q_name, k_name, v_name, o_name = (f"{name}self_attn.{letter}_proj" for letter in "qkvo")
    gate, up, down = (f"{name}mlp.{projection}_proj" for projection in ("gate", "up", "down"))
    return LayerWeights(
        attention_norm=read(f"{name}input_layernorm.weight", dim),
        # The largest matrices first: they need most memory besides, and then little else is there.
        gate_up=read.matrix([(gate, inner), (up, inner)], dim),
        down=ops.prepare_cut([read.part(f"{down}.weight", dim, inner)]),
        qkv=read.matrix([(q_name, q), (k_name, kv), (v_name, kv)], dim),
        qkv_bias=read.bias([(q_name, q), (k_name, kv), (v_name, kv)], config.attention_bias),
        qk_norm=read.head_norms(f"{name}self_attn", config) if config.qk_norm else None,
        output=ops.prepare_cut([read.part(f"{o_name}.weight", dim, q)]),
        output_bias=read.bias([(o_name, dim)], config.attention_output_bias),
        mlp_norm=read(f"{name}post_attention_layernorm.weight", dim),
        gate_up_bias=read.bias([(gate, inner), (up, inner)], config.mlp_bias),
        down_bias=read.bias([(down, dim)], config.mlp_bias),
    )


class TensorReader:
    """Reads tensors by name, checks each shape against the config, and records the names that were read."""

    def __init__(self, checkpoint: Checkpoint, ops: Plain, dtype: np.dtype[Any], weights: str) -> None:
        self.name, self.config, self.tensors = checkpoint.name, checkpoint.config, checkpoint.tensors
        self.ops, self.dtype, self.weights = ops, dtype, weights
        self.parts = {part_of(name) for name in self.tensors}
        self.used: set[str] = set()

    def stored(self, name: str, *shape: int) -> StoredTensor:
        """Return the tensor of this name, before its values are read.

        Raises:
            ValueError: the tensor is missing, or has the wrong shape.
        """
        if name not in self.tensors:
            raise self.missing(name, *shape)
        tensor = self.tensors[name]
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{self.name}: tensor {name} has shape {list(tensor.shape)}; the config requires {list(shape)}"
                f"{tensors_seem(self.tensors)}"
            )
        self.used.add(name)
        return tensor

    def __call__(self, name: str, *shape: int) -> Array:
        """Read one tensor in the model's dtype, as an array of the backend."""
        return self.ops.array(self.stored(name, *shape).read(), self.dtype)

    def matrix(self, projections: list[tuple[str, int]], inner: int) -> Any:
        """Read projections `[out, inner]` of the same input, and prepare them as one matrix.

        If the backend copies them, each is read when the one before is copied.
        """
        parts = (self.part(f"{name}.weight", out, inner) for name, out in projections)
        stored = {tensor.format for name, _ in projections if (tensor := self.tensors.get(f"{name}.weight"))}
        formats = stored if self.weights == "stored" else {self.weights}
        if len(formats) > 1 or (formats != {"float32"} and self.ops.keeps_quantized):
            return self.ops.prepare(list(parts))
        return self.ops.prepare_tiles(sum(out for _, out in projections), parts)

    def part(self, name: str, out: int, inner: int) -> Matrix:
        """Read one matrix in the format that was asked for. Numbers that are stored in it are not rounded again.

        Raises:
            ValueError: the tensor is missing, has the wrong shape, or cannot be expressed in the format.
        """
        return self.values(name, self.stored(name, out, inner))

    def tiles(self, name: str, out: int, inner: int) -> Iterator[Matrix]:
        """Read one matrix as `part`, a few rows at a time."""
        return (self.values(name, rows) for rows in in_tiles(self.stored(name, out, inner)))

    def values(self, name: str, tensor: StoredTensor) -> Matrix:
        """Read the tensor of this name, or some of its rows, in the format that was asked for.

        Raises:
            ValueError: it cannot be expressed in the format, or a stored scale is not finite.
        """
        if self.weights == "float32" or (self.weights == "stored" and tensor.format == "float32"):
            return np.asarray(tensor.read(), self.dtype)
        try:
            if self.weights == "stored":
                return as_stored(tensor)
            return in_format(name, tensor, self.weights, self.ops.quantize)
        except ValueError as problem:
            raise ValueError(f"{self.name}: tensor {name}: {problem}") from None

    def bias(self, projections: list[tuple[str, int]], present: bool) -> Array | None:
        """Read the biases of these projections as one row, zeros for one that is missing; None if all are.

        Raises:
            ValueError: the config says that there are biases, but the file has none that go together with these.
        """
        names = [f"{name}.bias" for name, _ in projections]
        if present and self.parts.isdisjoint(group_of(part_of(names[0]))):
            raise self.missing(names[0], projections[0][1])
        if not present or self.tensors.keys().isdisjoint(names):
            return None
        row = np.zeros(sum(out for _, out in projections), self.dtype)
        ends = np.cumsum([out for _, out in projections])
        for name, values in zip(names, np.split(row, ends[:-1]), strict=True):
            if name in self.tensors:
                values[:] = self.stored(name, len(values)).read()
        return self.ops.array(row)

    def head_norms(self, name: str, config: ModelConfig) -> Array:
        """Read the norm's weights: one row for each query head (all equal), then one for each key head (all equal)."""
        q, k = (self.stored(f"{name}.{letter}_norm.weight", config.head_dim).read() for letter in "qk")
        return self.ops.array([q] * config.num_attention_heads + [k] * config.num_key_value_heads, self.dtype)

    def missing(self, name: str, *shape: int) -> ValueError:
        """Return the error for a missing tensor: what asks for it, and tensors of the file that may be it."""
        layer = name[: -len(part_of(name))]
        why = reason(self.config, part_of(name))
        stored = [other for other in group_of(part_of(name)) if f"{layer}{other}" in self.tensors]
        why = f"the file has {stored[0]}" if stored else why
        if not any(other.startswith(layer) for other in self.tensors):
            why = f"num_hidden_layers is {self.config.num_hidden_layers}"
        close = [repr(other)[:100] for other in self._similar(name, shape)]
        return ValueError(
            f"{self.name}: tensor {name} is missing, but the config requires it{f' ({why})' if why else ''}"
            f"{'; similar: ' if close else ''}{', '.join(close)}{tensors_seem(self.tensors)}"
        )

    def _similar(self, name: str, shape: tuple[int, ...]) -> list[str]:
        """Return unusual names of the same layer, or outside the layers: those like this one, else of its shape."""
        place = name.removesuffix(part_of(name))
        strange = [o for o in self.tensors if o.removesuffix(part_of(o)) == place and not is_usual(o)][:MOST_COMPARED]
        fitting = [other for other in strange if tuple(self.tensors[other].shape) == shape]
        return get_close_matches(name, strange, 3) or get_close_matches(name, fitting, 3, cutoff=0)

    def warn_of_unused(self) -> None:
        """Issue one warning that names the tensors which the forward pass never uses."""
        unused = sorted(self.tensors.keys() - self.used)
        if unused:
            import warnings

            shown = ", ".join(repr(name)[:80] for name in unused[:4])
            are = f"{counted(len(unused), 'tensor')} {'is' if len(unused) == 1 else 'are'}"
            warnings.warn(f"{self.name}: {are} not used: {shown}", stacklevel=5)


def is_usual(name: str) -> bool:
    """Return whether models of the Llama family have tensors of this name."""
    from minillm.loading.gguf.file import NAMES

    module, _, kind = part_of(name).rpartition(".")
    return module in NAMES.values() and kind in ("weight", "bias")


def weights_by_name(checkpoint: Checkpoint) -> Mapping[str, Array]:
    """Read all tensors in float64 under their Hugging Face names, as `reference.forward` takes them."""
    return {name: np.asarray(tensor.read(), np.float64) for name, tensor in checkpoint.tensors.items()}
