"""The specification: the whole model for one sequence, in float64, without cache, batch or backend. Read this first.

It shares no code with the engine, and is written as the papers write it: one head at a time, RoPE as rotations in a
plane, attention over explicit pairs of positions. It is slow. Tests show that every other path equals it.
Sources: Touvron et al., LLaMA, 2302.13971; the papers named below.

    >>> from minillm.loading import open_checkpoint
    >>> from minillm.loading.build import weights_by_name
    >>> checkpoint = open_checkpoint("story-draft")
    >>> minillm.reference.forward(checkpoint.config, weights_by_name(checkpoint), [5, 6, 7]).shape
    (3, 2048)
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.config import ModelConfig, RopeParameters


def forward(
    config: ModelConfig, weights: Mapping[str, Array], tokens: Sequence[int] | Int[Array, "tokens"]
) -> Float[Array, "tokens vocab"]:
    """Return the logits after every token. `weights` maps Hugging Face names to float64 arrays `[out, in]`."""
    x = weights["model.embed_tokens.weight"][np.asarray(tokens)]  # [tokens, dim]
    for number in range(config.num_hidden_layers):
        prefix = f"model.layers.{number}."
        layer = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
        x = x + attention(config, layer, rms_norm(x, layer["input_layernorm.weight"], config), number)
        x = x + mlp(layer, rms_norm(x, layer["post_attention_layernorm.weight"], config))
    x = rms_norm(x, weights["model.norm.weight"], config)
    head = "model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"
    return x @ weights[head].T  # [tokens, vocab]


def attention(config: ModelConfig, layer: Mapping[str, Array], x: Array, number: int) -> Array:
    """Let every token attend to itself and all tokens before it (Vaswani et al., 1706.03762; GQA: 2305.13245)."""
    q, k, v = (project(layer, f"self_attn.{name}_proj", x) for name in "qkv")  # [tokens, heads or kv_heads * head_dim]
    d, heads = config.head_dim, []
    for head in range(config.num_attention_heads):
        shared = head // (config.num_attention_heads // config.num_key_value_heads)  # the key/value head of this head
        q_head, k_head, v_head = (a[:, n * d : (n + 1) * d] for a, n in ((q, head), (k, shared), (v, shared)))
        if config.qk_norm:  # Qwen3
            q_head = rms_norm(q_head, layer["self_attn.q_norm.weight"], config)
            k_head = rms_norm(k_head, layer["self_attn.k_norm.weight"], config)
        q_head, k_head = rope(q_head, config.rope), rope(k_head, config.rope)
        output, window = np.zeros_like(q_head), config.sliding_windows[number] or len(x)
        for i in range(len(x)):
            seen = range(max(0, i - window + 1), i + 1)  # its own position and those before it, at most `window`
            scores = np.array([q_head[i] @ k_head[j] / math.sqrt(d) for j in seen])
            weights = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
            output[i] = sum(weight * v_head[j] for weight, j in zip(weights, seen, strict=True))
        heads.append(output)
    return project(layer, "self_attn.o_proj", np.concatenate(heads, axis=-1))


def mlp(layer: Mapping[str, Array], x: Array) -> Array:
    """Compute SwiGLU: silu(x gate) * (x up), then the down projection; silu(x) = x / (1 + exp(-x)) (2002.05202)."""
    gate, up = project(layer, "mlp.gate_proj", x), project(layer, "mlp.up_proj", x)
    return project(layer, "mlp.down_proj", gate / (1 + np.exp(-gate)) * up)


def project(layer: Mapping[str, Array], name: str, x: Array) -> Array:
    """Multiply by a weight matrix, and add its bias if the model has one."""
    return x @ layer[f"{name}.weight"].T + layer.get(f"{name}.bias", 0.0)


def rms_norm(x: Array, weight: Array, config: ModelConfig) -> Array:
    """Divide each row by the root of its mean square (Zhang and Sennrich, 1910.07467)."""
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + config.rms_norm_eps) * weight


def rope(x: Array, parameters: RopeParameters) -> Array:
    """Rotate the pair (i, i + d/2) of the head at position m by m * frequency_i radians (Su et al., 2104.09864)."""
    half, rotated = x.shape[1] // 2, x.copy()
    for m in range(len(x)):
        for i in range(half):
            angle = m * frequency(i, 2 * half, parameters)
            a, b = x[m, i], x[m, i + half]
            rotated[m, i] = a * math.cos(angle) - b * math.sin(angle)
            rotated[m, i + half] = b * math.cos(angle) + a * math.sin(angle)
    return rotated


def frequency(i: int, d: int, rope: RopeParameters) -> float:
    """Return the radians per position of pair i. Models with long contexts lower the low frequencies."""
    plain = rope.rope_theta ** (-2 * i / d)
    if rope.frequency_factors is not None:
        return plain / rope.frequency_factors[i]
    if rope.rope_type == "linear":
        return plain / rope.factor
    if rope.rope_type == "llama3":
        turns = rope.original_max_position_embeddings * plain / (2 * math.pi)  # over the training context
        kept = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
        kept = min(1.0, max(0.0, kept))  # 1: a high frequency, kept; 0: a low one, divided by `factor`
        return kept * plain + (1 - kept) * plain / rope.factor
    return plain
