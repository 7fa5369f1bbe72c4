"""A small engine: a Llama in NumPy with a KV cache. It has the six functions that `pytest --minillm-engine` tests.

    pytest --minillm-engine engine.py

The cache has a list of keys and a list of values for each layer, with one row [kv_heads, head_dim] for each token.
"""

import numpy as np


def make_engine(config, weights):
    """Return the engine for a config and weights ({Hugging Face name: float64 array [out, in]})."""
    return Engine(config, weights)


def rms_norm(x, weight, eps):
    """Divide each row of x [tokens, dim] by its root mean square, and multiply it by `weight` [dim]."""
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def rope(x, first, theta):
    """Rotate x [tokens, heads, head_dim] by the positions of its tokens: first, first + 1, ..."""
    half = x.shape[-1] // 2
    positions = first + np.arange(len(x))
    angles = (positions[:, None] * theta ** (-np.arange(half) / half))[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], axis=-1)


def attend(q, k, v, first):
    """Return the attention output [queries, heads * head_dim].

    q: [queries, heads, head_dim] at positions first, first + 1, ...; k, v: [keys, kv_heads, head_dim] of all tokens.
    """
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1])
    masked = np.arange(len(k)) > first + np.arange(len(q))[:, None]
    scores = np.where(masked, -np.inf, scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", weights, v).reshape(len(q), -1)


class Cache:
    """The keys and values of each layer, with one row for each token."""

    def __init__(self, layers):
        """Make an empty cache."""
        self.keys = [[] for _ in range(layers)]
        self.values = [[] for _ in range(layers)]

    def append(self, layer, k, v):
        """Append the rows of new tokens. Return all rows of the layer."""
        self.keys[layer].extend(k)
        self.values[layer].extend(v)
        return np.array(self.keys[layer]), np.array(self.values[layer])

    def __len__(self):
        """Return the number of tokens."""
        return len(self.keys[-1])


class Engine:
    """The six functions: new_cache, prefill, decode, truncate, fork and batch."""

    def __init__(self, config, weights):
        """Take a config of minillm and the weights of the model."""
        self.config, self.weights = config, weights

    def new_cache(self):
        """Return an empty cache."""
        return Cache(self.config.num_hidden_layers)

    def prefill(self, tokens, cache):
        """Append tokens. Return the logits [vocab] after the last one."""
        config, weights, first = self.config, self.weights, len(cache)
        x = weights["model.embed_tokens.weight"][tokens]
        for number in range(config.num_hidden_layers):
            x = self.layer(number, x, first, cache)
        x = rms_norm(x, weights["model.norm.weight"], config.rms_norm_eps)
        head = "model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"
        return x[-1] @ weights[head].T

    def layer(self, number, x, first, cache):
        """Add the output of attention and of the MLP to x [tokens, dim]."""
        config, eps = self.config, self.config.rms_norm_eps
        w = {name: self.weights[f"model.layers.{number}.{name}.weight"] for name in NAMES}
        h = rms_norm(x, w["input_layernorm"], eps)
        q, k, v = (h @ w[f"self_attn.{name}_proj"].T for name in "qkv")
        q, k, v = (heads.reshape(len(x), -1, config.head_dim) for heads in (q, k, v))
        q, k = (rope(heads, first, config.rope.rope_theta) for heads in (q, k))
        keys, values = cache.append(number, k, v)
        x = x + attend(q, keys, values, first) @ w["self_attn.o_proj"].T
        h = rms_norm(x, w["post_attention_layernorm"], eps)
        gate = h @ w["mlp.gate_proj"].T
        return x + (gate / (1 + np.exp(-gate)) * (h @ w["mlp.up_proj"].T)) @ w["mlp.down_proj"].T

    def decode(self, token, cache):
        """Append one token. Return the logits [vocab] after it."""
        return self.prefill([token], cache)

    def truncate(self, cache, length):
        """Drop all tokens from index `length` on."""
        for rows in (*cache.keys, *cache.values):
            del rows[length:]

    def fork(self, cache):
        """Return an independent cache with the same tokens."""
        copy = self.new_cache()
        copy.keys = [list(rows) for rows in cache.keys]
        copy.values = [list(rows) for rows in cache.values]
        return copy

    def batch(self, sequences):
        """Append tokens to the caches of several sequences. Return the logits [sequences, vocab] after each."""
        return np.array([self.prefill(tokens, cache) for tokens, cache in sequences])


NAMES = (
    "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip
