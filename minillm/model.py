"""Model: a config, weights ready to multiply, a tokenizer and a backend. `load` makes one from files."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.backends import get_backend
from minillm.backends.layout import copy_in_blocks
from minillm.backends.plain import Plain
from minillm.config import ModelConfig
from minillm.loading.checkpoint import Checkpoint, StoredTensor
from minillm.loading.tokenizer import Tokenizer


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


def load(name: str | PathLike[str], backend: str = "numpy", dtype: str = "float32") -> Model:
    """Load a model.

    Args:
        name: a registry name such as "smollm2", a folder in Hugging Face layout, a .gguf file, or "hf:org/name".
        backend: "numpy" (fast), "plain" (what the formulas say), "exact" (the same bits in every schedule) or "cupy".
        dtype: "float32" or "float64"; "exact" is always float64; on "cupy" weights may be "float16" or "bfloat16".

    Raises:
        ValueError: the name, an argument or the contents of a file are wrong; the message says how.
        OSError: a file is missing or cannot be read, a download failed, or "cupy" finds no GPU.
    """
    from minillm.loading import open_checkpoint

    ops, kept_as = backend_and_dtype(backend, dtype)
    checkpoint = open_checkpoint(name)
    kind, itemsize = ops.stored_weights(dtype)
    needed = itemsize * sum(math.prod(tensor.shape) for tensor in checkpoint.tensors.values())  # bytes
    on_device = ops.free_memory()
    is_free = "" if on_device is None else f", {on_device / 1e9:.1f} GB are free"
    too_large = ValueError(
        f"{checkpoint.name}: not enough memory for its weights, {needed / 1e9:.1f} GB as {kind}{is_free}; "
        "use a smaller model"
    )
    if needed > (_memory() if on_device is None else on_device):  # else the system ends the process without a word
        raise too_large
    try:
        return build(checkpoint, ops, kept_as)
    except MemoryError as problem:
        # A device's own is a ValueError too, and says what was needed and what is free.
        raise (problem if isinstance(problem, ValueError) else too_large) from None


def backend_and_dtype(backend: str, dtype: str) -> tuple[Plain, np.dtype[Any]]:
    """The backend of this name, and the dtype it computes in when this one is asked for.

    Raises:
        ValueError: there is no such backend or dtype.
    """
    ops = get_backend(backend)
    if not isinstance(dtype, str) or dtype not in ops.dtypes:
        raise ValueError(f"dtype is {dtype!r}; expected one of {', '.join(ops.dtypes)}")
    return ops, ops.choose_dtype(dtype)


def _memory() -> float:
    """Bytes of memory in this machine; infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):
        return math.inf


def build(checkpoint: Checkpoint, ops: Plain, dtype: np.dtype[Any]) -> Model:
    """Read a checkpoint's tensors, check each shape against the config, and let the backend prepare them."""
    config = checkpoint.config
    read = TensorReader(checkpoint, ops, dtype)
    embedding = read("model.embed_tokens.weight", config.vocab_size, config.hidden_size)
    if config.tie_word_embeddings:
        read.used.add("lm_head.weight")  # some files store the shared matrix twice
        embedding, head = ops.tie(embedding)  # before the layers: copying the largest matrix takes twice its memory
    else:
        head = ops.prepare(read("lm_head.weight", config.vocab_size, config.hidden_size).T)
    layer_weights = tuple(_layer(read, config, number) for number in range(config.num_hidden_layers))
    final_norm = read("model.norm.weight", config.hidden_size)
    read.warn_of_unused()
    return Model(
        checkpoint.name,
        config,
        ops,
        dtype,
        embedding,
        layer_weights,
        final_norm,
        head,
        checkpoint.tokenizer,
    )


def _layer(read: "TensorReader", config: ModelConfig, number: int) -> LayerWeights:
    dim, inner, d = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    name = f"model.layers.{number}."
    q_name, k_name, v_name, o_name = (f"{name}self_attn.{letter}_proj" for letter in "qkvo")
    gate, up, down = (f"{name}mlp.{part}_proj" for part in ("gate", "up", "down"))
    return LayerWeights(
        attention_norm=read(f"{name}input_layernorm.weight", dim),
        qkv=read.matrix([(q_name, q), (k_name, kv), (v_name, kv)], dim),
        qkv_bias=read.bias([(q_name, q), (k_name, kv), (v_name, kv)], config.attention_bias),
        qk_norm=read.head_norms(f"{name}self_attn", config) if config.qk_norm else None,
        output=read.matrix([(o_name, dim)], q),
        output_bias=read.bias([(o_name, dim)], config.attention_output_bias),
        mlp_norm=read(f"{name}post_attention_layernorm.weight", dim),
        gate_up=read.matrix([(gate, inner), (up, inner)], dim),
        gate_up_bias=read.bias([(gate, inner), (up, inner)], config.mlp_bias),
        down=read.matrix([(down, dim)], inner),
        down_bias=read.bias([(down, dim)], config.mlp_bias),
    )


class TensorReader:
    """Reads tensors by name, each held to the shape that the config gives, and remembers which were read."""

    def __init__(self, checkpoint: Checkpoint, ops: Plain, dtype: np.dtype[Any]) -> None:
        """Nothing is read yet."""
        self.name, self.tensors, self.ops, self.dtype = checkpoint.name, checkpoint.tensors, ops, dtype
        self.used: set[str] = set()

    def stored(self, name: str, *shape: int) -> StoredTensor:
        """The tensor of this name, not read yet.

        Raises:
            ValueError: it is missing, or its shape is another.
        """
        if name not in self.tensors:
            raise ValueError(f"{self.name}: tensor {name} is missing; the config says it should be there")
        tensor = self.tensors[name]
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{self.name}: tensor {name} has shape {list(tensor.shape)}; the config says {list(shape)}"
            )
        self.used.add(name)
        return tensor

    def __call__(self, name: str, *shape: int) -> Array:
        """One tensor in the model's dtype, where the backend computes."""
        return self.ops.array(self.stored(name, *shape).read(), self.dtype)

    def matrix(self, parts: list[tuple[str, int]], inner: int) -> Any:
        """Projections `[out, inner]` that read the same input, side by side as `[inner, sum of outs]`, prepared."""
        stored = [self.stored(f"{name}.weight", out, inner) for name, out in parts]
        if len(stored) == 1:
            return self.ops.prepare(self.ops.array(stored[0].read(), self.dtype).T)
        joined = np.empty((inner, sum(out for _, out in parts)), self.dtype)  # filled one part at a time: memory
        ends = np.cumsum([out for _, out in parts])
        for tensor, columns in zip(stored, np.split(joined, ends[:-1], axis=1), strict=True):
            copy_in_blocks(tensor.read().T, columns)
        return self.ops.prepare(self.ops.array(joined))

    def bias(self, parts: list[tuple[str, int]], present: bool) -> Array | None:
        """The biases of those projections as one row, or None."""
        if not present:
            return None
        return self.ops.array(np.concatenate([self(f"{name}.bias", out) for name, out in parts]))

    def head_norms(self, name: str, config: ModelConfig) -> Array:
        """The norm's weights for each query head, which are the same, and for each key head."""
        q, k = (self.stored(f"{name}.{letter}_norm.weight", config.head_dim).read() for letter in "qk")
        return self.ops.array([q] * config.num_attention_heads + [k] * config.num_key_value_heads, self.dtype)

    def warn_of_unused(self) -> None:
        """One warning for tensors that the forward pass never asks for."""
        unused = sorted(n for n in self.tensors.keys() - self.used if not n.endswith("rotary_emb.inv_freq"))
        if unused:
            import warnings

            shown = ", ".join(repr(name)[:80] for name in unused[:4])
            warnings.warn(f"{self.name}: {len(unused)} tensors are not used: {shown}", stacklevel=4)


def weights_by_name(checkpoint: Checkpoint) -> Mapping[str, Array]:
    """All tensors in float64 under their Hugging Face names: what `reference.forward` takes."""
    return {name: np.asarray(tensor.read(), np.float64) for name, tensor in checkpoint.tensors.items()}
