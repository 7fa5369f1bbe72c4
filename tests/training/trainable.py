"""Random small models that the backward pass knows."""

import dataclasses

import numpy as np
from hypothesis import strategies as st
from random_models import ArrayTensor, ropes

from minillm.backends import get_backend
from minillm.config import ModelConfig
from minillm.loading.build import build
from minillm.loading.checkpoint import Checkpoint
from minillm.model import Model
from minillm.training.parameters import ParameterVector, llama_config


@st.composite
def trainable_configs(draw) -> ModelConfig:
    """Grouped heads, a head_dim of its own, every kind of RoPE, tied or not."""
    kv_heads, head_dim = draw(st.sampled_from([1, 2])), draw(st.sampled_from([2, 4]))
    heads = kv_heads * draw(st.sampled_from([1, 2, 3]))
    config = llama_config(
        draw(st.integers(5, 20)), 12, draw(st.integers(3, 10)), draw(st.integers(1, 3)), heads, kv_heads, 300
    )
    return dataclasses.replace(
        config,
        head_dim=head_dim,
        rope=draw(ropes(head_dim)),
        rms_norm_eps=draw(st.sampled_from([1e-6, 1e-2])),
        tie_word_embeddings=draw(st.booleans()),
    )


def random_parameters(config: ModelConfig, seed: int, dtype=np.float64) -> ParameterVector:
    """Weights large enough that every part changes the loss; no norm is 1."""
    parameters, generator = ParameterVector(config, dtype=dtype), np.random.default_rng(seed)
    for tensor in parameters.tensors.values():
        tensor[...] = generator.normal(size=tensor.shape)
        if tensor.ndim == 1:
            tensor[...] = 1 + 0.5 * tensor
        else:
            tensor *= 1.5 / np.sqrt(tensor.shape[1])
    return parameters


def as_model(parameters: ParameterVector) -> Model:
    """The same weights in the engine."""
    tensors = {name: ArrayTensor(values) for name, values in parameters.tensors.items()}
    checkpoint = Checkpoint("trained", parameters.config, tensors, None)
    return build(checkpoint, get_backend("plain"), parameters.vector.dtype)
