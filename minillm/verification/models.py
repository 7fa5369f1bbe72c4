"""Tiny random models, which the engines of `make_engine(config, weights)` are made from."""

from functools import cache

import numpy as np

from minillm.arrays import Array
from minillm.config import ModelConfig, RopeParameters


def plain_config(layers: int, kv_heads: int, group: int, head_dim: int, vocab_size: int, tied: bool) -> ModelConfig:
    """Return the config of a plain Llama."""
    return ModelConfig(
        model_type="llama", vocab_size=vocab_size, hidden_size=12, intermediate_size=10, num_hidden_layers=layers,
        num_attention_heads=kv_heads * group, num_key_value_heads=kv_heads, head_dim=head_dim,
        max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=tied, rope=RopeParameters(10_000.0),
        attention_bias=False, attention_output_bias=False, mlp_bias=False, qk_norm=False,
        sliding_windows=(None,) * layers, bos_token_id=None, eos_token_ids=(0,),
    )  # fmt: skip


CONFIGS = [plain_config(*numbers) for numbers in (
    (1, 1, 1, 4, 11, True), (1, 1, 2, 4, 11, False), (1, 2, 1, 4, 11, True), (2, 1, 1, 2, 12, True),
    (1, 2, 3, 4, 13, True), (2, 2, 2, 6, 15, False),
)]  # fmt: skip


@cache
def random_weights(config: ModelConfig) -> dict[str, Array]:
    """Return weights of a plain Llama under their Hugging Face names, large enough that each one changes the result."""
    random = np.random.default_rng(0)
    dim, inner, d = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens": (config.vocab_size, dim), "model.norm": (dim,)}
    if not config.tie_word_embeddings:
        shapes["lm_head"] = (config.vocab_size, dim)
    for number in range(config.num_hidden_layers):
        layer = {
            "input_layernorm": (dim,), "post_attention_layernorm": (dim,), "self_attn.q_proj": (q, dim),
            "self_attn.k_proj": (kv, dim), "self_attn.v_proj": (kv, dim), "self_attn.o_proj": (dim, q),
            "mlp.gate_proj": (inner, dim), "mlp.up_proj": (inner, dim), "mlp.down_proj": (dim, inner),
        }  # fmt: skip
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    return {
        f"{name}.weight": 1 + 0.5 * random.normal(size=shape)
        if len(shape) == 1
        else random.normal(size=shape) * 1.5 / np.sqrt(shape[1])
        for name, shape in shapes.items()
    }
