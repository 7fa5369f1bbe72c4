"""Tiny random models, which the engines of `make_engine(config, weights)` are made from.

Every engine must understand plain Llamas. An adapter names in FEATURES what else it understands.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from minillm.arrays import Array
from minillm.config import ModelConfig, RopeParameters

CONTEXT = 256  # tokens


def plain_config(
    layers: int, kv_heads: int, group: int, head_dim: int, vocab_size: int, tied: bool,
    eps: float = 1e-5, theta: float = 10_000.0,
) -> ModelConfig:  # fmt: skip
    """Return the config of a plain Llama."""
    return ModelConfig(
        model_type="llama", vocab_size=vocab_size, hidden_size=12, intermediate_size=10, num_hidden_layers=layers,
        num_attention_heads=kv_heads * group, num_key_value_heads=kv_heads, head_dim=head_dim,
        max_position_embeddings=CONTEXT, rms_norm_eps=eps, tie_word_embeddings=tied, rope=RopeParameters(theta),
        attention_bias=False, attention_output_bias=False, mlp_bias=False, qk_norm=False,
        sliding_windows=(None,) * layers, bos_token_id=None, eos_token_ids=(0,),
    )  # fmt: skip


CONFIGS = [plain_config(*numbers) for numbers in (
    (1, 1, 1, 4, 11, True), (1, 1, 2, 4, 11, False), (1, 2, 1, 4, 11, True, 1e-2), (2, 1, 1, 2, 12, True),
    (1, 2, 3, 4, 13, True, 1e-5, 100.0), (2, 2, 2, 6, 15, False, 1e-3, 500.0),
)]  # fmt: skip


WINDOW = 4  # tokens of a sliding window: so few that short prompts exceed it

FEATURES: dict[str, tuple[ModelConfig, ...]] = {
    "window": tuple(
        replace(one, sliding_windows=(WINDOW,) * one.num_hidden_layers) for one in (CONFIGS[1], CONFIGS[3])
    ),
    "qk_norm": tuple(replace(one, qk_norm=True) for one in (CONFIGS[1], CONFIGS[5])),
    "bias": tuple(replace(one, attention_bias=True) for one in (CONFIGS[2], CONFIGS[5])),
}


def configs(features: Iterable[str] = (), sizes: Sequence[int] = ()) -> list[ModelConfig]:
    """Return the architectures to test an engine with.

    Args:
        features: what the engine understands besides plain Llamas: names of FEATURES.
        sizes: the sizes around which lengths are drawn. The context is long enough for three times the largest.

    Raises:
        ValueError: an unknown feature.

    Example:
        >>> [config.sliding_windows for config in configs(["window"])][-2:]
        [(4,), (4, 4)]
    """
    chosen = list(CONFIGS)
    for feature in features:
        if feature not in FEATURES:
            raise ValueError(f"FEATURES has {feature!r}; expected names of {', '.join(FEATURES)}")
        chosen += FEATURES[feature]
    context = max(CONTEXT, *(3 * size for size in sizes)) if sizes else CONTEXT
    return [replace(config, max_position_embeddings=context) for config in chosen]


@cache
def random_weights(config: ModelConfig) -> dict[str, Array]:
    """Return weights under their Hugging Face names, large enough that each one changes the result.

    The rows of the embedding are longer than what the layers add to them. Where a sum nearly cancels them, the next
    norm would magnify what rounding left: see tests/verification/test_comparison.py.
    """
    random = np.random.default_rng(0)
    embedding = 1.0 + config.num_hidden_layers
    return {name: _random_tensor(name, shape, random, embedding) for name, shape in _shapes(config).items()}


def _random_tensor(name: str, shape: tuple[int, ...], random: np.random.Generator, embedding: float) -> Array:
    """Return a matrix (a row of the embedding has this length), a norm that is not all 1, or a bias that is not 0."""
    numbers = random.normal(size=shape)
    if name.endswith("norm.weight"):
        return 1 + 0.5 * numbers
    size = embedding if name in ("model.embed_tokens.weight", "lm_head.weight") else 1.0
    return numbers if name.endswith(".bias") else numbers * size / np.sqrt(shape[1])


def _shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor under its Hugging Face name."""
    dim, inner, d = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, dim)}
    shapes["model.norm.weight"] = (dim,)
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, dim)
    projections = {
        "self_attn.q_proj": (q, dim), "self_attn.k_proj": (kv, dim), "self_attn.v_proj": (kv, dim),
        "self_attn.o_proj": (dim, q),
        "mlp.gate_proj": (inner, dim), "mlp.up_proj": (inner, dim), "mlp.down_proj": (dim, inner),
    }  # fmt: skip
    norms = {"input_layernorm": (dim,), "post_attention_layernorm": (dim,)}
    if config.qk_norm:
        norms |= {"self_attn.q_norm": (d,), "self_attn.k_norm": (d,)}
    biases = {name: projections[name][:1] for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")}
    for number in range(config.num_hidden_layers):
        layer = f"model.layers.{number}."
        shapes |= {f"{layer}{name}.weight": shape for name, shape in (norms | projections).items()}
        if config.attention_bias:
            shapes |= {f"{layer}{name}.bias": shape for name, shape in biases.items()}
    return shapes
