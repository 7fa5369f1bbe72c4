"""ParameterVector: all parameters of a model in one vector. Each parameter is a view of a range of it.

So the optimizer is a few lines over one array, and the gradient is a second vector of the same layout. Matrices that
multiply the same input (q, k and v; gate and up) are adjacent in memory and can be multiplied as one matrix.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from minillm.arrays import Array, Float
from minillm.config import ModelConfig, RopeParameters


@dataclass(frozen=True)
class LayerParameters:
    """Views of one layer's parameters. Matrices are `[out, in]`, as in Hugging Face files."""

    attention_norm: Array
    qkv: Array
    output: Array
    mlp_norm: Array
    gate_up: Array
    down: Array


class ParameterVector:
    """The parameters, or the gradients, of one model.

    Attributes:
        config: the architecture.
        vector: `[parameters]`, all parameters.
        tensors: views by Hugging Face name, in the order of the vector.
    """

    def __init__(
        self, config: ModelConfig, vector: Float[Array, "parameters"] | None = None, dtype: Any = None
    ) -> None:
        """Make views of the vector, or of a new vector of zeros.

        Raises:
            ValueError: the architecture has something that the backward pass does not support.
        """
        check_trainable(config)
        self.config, shapes = config, tensor_shapes(config)
        size = sum(prod(shape) for shape in shapes.values())
        self.vector = np.zeros(size, dtype or np.float32) if vector is None else vector
        self.tensors, self._first, begin = {}, {}, 0
        for name, shape in shapes.items():
            self._first[name] = begin
            self.tensors[name] = self.vector[begin : begin + prod(shape)].reshape(shape)
            begin += prod(shape)
        self.embedding = self.tensors["model.embed_tokens.weight"]  # [vocab, dim]
        self.final_norm = self.tensors["model.norm.weight"]  # [dim]
        self.head = self.tensors.get("lm_head.weight", self.embedding)  # [vocab, dim]
        self.layers = tuple(self._layer(number) for number in range(config.num_hidden_layers))

    def _layer(self, number: int) -> LayerParameters:
        name = f"model.layers.{number}."
        return LayerParameters(
            attention_norm=self.tensors[f"{name}input_layernorm.weight"],
            qkv=self._joined(*(f"{name}self_attn.{letter}_proj.weight" for letter in "qkv")),
            output=self.tensors[f"{name}self_attn.o_proj.weight"],
            mlp_norm=self.tensors[f"{name}post_attention_layernorm.weight"],
            gate_up=self._joined(f"{name}mlp.gate_proj.weight", f"{name}mlp.up_proj.weight"),
            down=self.tensors[f"{name}mlp.down_proj.weight"],
        )

    def _joined(self, *names: str) -> Array:
        """Return adjacent matrices as one, `[sum of outs, in]`."""
        inner, begin = self.tensors[names[0]].shape[1], self._first[names[0]]
        return self.vector[begin : begin + sum(self.tensors[name].size for name in names)].reshape(-1, inner)

    def like(self) -> "ParameterVector":
        """Return zeros of the same layout, for a gradient."""
        return ParameterVector(self.config, np.zeros_like(self.vector))

    def matrices(self) -> Float[Array, "parameters"]:
        """Return 1 for each parameter of a matrix and 0 for each of a norm. Weight decay applies to matrices only."""
        mask = ParameterVector(self.config, np.zeros_like(self.vector))
        for tensor in mask.tensors.values():
            tensor[...] = tensor.ndim > 1
        return mask.vector


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes by Hugging Face name. Matrices that are multiplied as one are adjacent."""
    dim, inner, d = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, dim)}
    for number in range(config.num_hidden_layers):
        layer = {
            "input_layernorm.weight": (dim,),
            "self_attn.q_proj.weight": (q, dim),
            "self_attn.k_proj.weight": (kv, dim),
            "self_attn.v_proj.weight": (kv, dim),
            "self_attn.o_proj.weight": (dim, q),
            "post_attention_layernorm.weight": (dim,),
            "mlp.gate_proj.weight": (inner, dim),
            "mlp.up_proj.weight": (inner, dim),
            "mlp.down_proj.weight": (dim, inner),
        }
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (dim,)
    return shapes if config.tie_word_embeddings else shapes | {"lm_head.weight": (config.vocab_size, dim)}


def initialise(config: ModelConfig, seed: int, dtype: Any = np.float32) -> ParameterVector:
    """Return random matrices of standard deviation 0.02, and norms of 1 (Radford et al., GPT-2, 2019).

    The two matrices of a layer that add to the residual stream are divided by sqrt(2 * layers). So the sum over all
    layers has the size of one addition.
    """
    parameters, generator = ParameterVector(config, dtype=dtype), np.random.default_rng(seed)
    for name, tensor in parameters.tensors.items():
        if tensor.ndim == 1:
            tensor[...] = 1
            continue
        deviation = 0.02
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            deviation /= (2 * config.num_hidden_layers) ** 0.5
        tensor[...] = generator.normal(0, deviation, tensor.shape)
    return parameters


def llama_config(
    vocab_size: int, hidden_size: int, intermediate_size: int, layers: int, heads: int, kv_heads: int, context: int
) -> ModelConfig:
    """Return the config of a small Llama with tied embeddings, in which token 0 is the end of a text."""
    return ModelConfig(
        model_type="llama",
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden_size // heads,
        max_position_embeddings=context,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        rope=RopeParameters(),
        attention_bias=False,
        attention_output_bias=False,
        mlp_bias=False,
        qk_norm=False,
        sliding_windows=(None,) * layers,
        bos_token_id=None,
        eos_token_ids=(0,),
    )


def check_trainable(config: ModelConfig) -> None:
    """Raise ValueError if the model has biases, norms of q and k, or windows: the backward pass has none of them."""
    unsupported = {
        "biases": config.attention_bias or config.attention_output_bias or config.mlp_bias,
        "norms of q and k": config.qk_norm,
        "sliding windows": any(window is not None for window in config.sliding_windows),
    }
    found = [name for name, present in unsupported.items() if present]
    if found:
        raise ValueError(f"training: this model has {', '.join(found)}; expected a Llama without them")
