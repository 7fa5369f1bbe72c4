"""Random tiny models that cover every option of the architecture, with random weights, norms and biases."""

import os

import numpy as np
from fake_device import FakeDevice
from hypothesis import strategies as st
from tensors import ArrayTensor, tensor_shapes

from minillm.backends import get_backend
from minillm.backends.cupy import CuPy
from minillm.backends.plain import Plain
from minillm.config import ModelConfig, RopeParameters
from minillm.loading.build import build, weights_by_name
from minillm.loading.checkpoint import Checkpoint
from minillm.model import Model

REAL_DEVICE = os.environ.get("MINILLM_GPU") == "1"  # scripts/check_gpu.py
EVERY_BACKEND = ("numpy", "plain", "exact", "cupy")
CONTEXT = 160  # longer than two tiles of the fast backend's prefill


@st.composite
def ropes(draw, head_dim: int) -> RopeParameters:
    kind = draw(st.sampled_from(["default", "linear", "llama3", "factors"]))
    theta = draw(st.sampled_from([100.0, 10_000.0, 500_000.0]))
    if kind == "linear":
        return RopeParameters(theta, "linear", factor=draw(st.sampled_from([2.0, 4.5])))
    if kind == "llama3":  # a short training context, so that fast, slow and middle pairs all occur
        return RopeParameters(theta, "llama3", 8.0, 1.0, 4.0, original_max_position_embeddings=draw(st.integers(8, 64)))
    if kind == "factors":
        factors = draw(st.lists(st.floats(0.5, 8), min_size=head_dim // 2, max_size=head_dim // 2))
        return RopeParameters(theta, frequency_factors=tuple(factors))
    return RopeParameters(theta)


@st.composite
def architectures(draw) -> ModelConfig:
    """A tiny config; every field of ModelConfig that changes the result varies."""
    kv_heads, group = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 3]))
    head_dim = draw(st.sampled_from([2, 4, 6, 8]))
    layers = draw(st.integers(1, 3))
    window = st.none() | st.integers(1, 12)
    return ModelConfig(
        model_type="llama",
        vocab_size=draw(st.integers(11, 40)),
        hidden_size=draw(st.integers(6, 20)),
        intermediate_size=draw(st.integers(5, 24)),
        num_hidden_layers=layers,
        num_attention_heads=kv_heads * group,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=draw(st.sampled_from([1e-6, 1e-5, 1e-2])),
        tie_word_embeddings=draw(st.booleans()),
        rope=draw(ropes(head_dim)),
        attention_bias=draw(st.booleans()),
        attention_output_bias=draw(st.booleans()),
        mlp_bias=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
        sliding_windows=tuple(draw(window) for _ in range(layers)),
        bos_token_id=None,
        eos_token_ids=(0,),
    )


def random_checkpoint(config: ModelConfig, seed: int) -> Checkpoint:
    """Random weights, large enough that attention and the MLP change the result; no norm is 1 and no bias is 0."""
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, shape in tensor_shapes(config).items():
        values = generator.normal(size=shape)
        if name.endswith("norm.weight"):
            values = 1 + 0.5 * values
        elif len(shape) == 2:
            values *= 1.5 / np.sqrt(shape[1])
        tensors[name] = ArrayTensor(values)
    return Checkpoint("random", config, tensors, None)


def random_model(
    config: ModelConfig, seed: int, backend: str = "numpy", dtype: str = "float64", weights: str = "float32"
) -> tuple[Model, dict[str, np.ndarray]]:
    """A model, and the same weights as `reference.forward` takes them: before they are rounded to a format of fewer
    bits. "cupy" runs on a device that is none."""
    checkpoint, ops = random_checkpoint(config, seed), make_ops(backend)
    return build(checkpoint, ops, ops.choose_dtype(dtype), weights), dict(weights_by_name(checkpoint))


def make_ops(backend: str) -> Plain:
    return CuPy(FakeDevice()) if backend == "cupy" and not REAL_DEVICE else get_backend(backend)


@st.composite
def models(draw, backends: tuple[str, ...] = ("numpy", "plain", "exact")) -> Model:
    """A random model in float64 on one of the backends; where a real device is to be checked, on that."""
    if REAL_DEVICE and "cupy" in backends:
        backends = ("cupy",)
    return random_model(draw(architectures()), draw(st.integers(0, 2**32)), draw(st.sampled_from(backends)))[0]


def token_lists(vocab_size: int, max_size: int = 24) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, vocab_size - 1), min_size=1, max_size=max_size)


def cache_dtypes(model: Model) -> st.SearchStrategy[str | None]:
    """What caches of this model can be stored in."""
    return st.sampled_from([None, "int8"] if model.ops.int8_caches else [None])
