"""An engine with every operation that the properties know. `planted_bugs.py` has wrong lines for it.

Keys are stored as they were rotated. A shift is applied lazily: the next pass rotates the keys again.
"""

import numpy as np

DTYPE = "float64"
PAGE = 32
FEATURES = ("window", "qk_norm", "bias")
OPTIONS = {
    "prefix": [False, True],
    "chunk": [None, 1, 2],
    "budget": [None, 1, 2],
    "n": [1, 2],
    "eos": [None, [0, 1, 2, 3], 4, [5, 6, 7, 8]],
}


def make_engine(config, weights):
    return Engine(config, {name: array.astype(DTYPE) for name, array in weights.items()})


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.asarray(eps, x.dtype)) * weight


def rope(x, positions, theta):
    half = x.shape[-1] // 2
    angles = (np.asarray(positions)[:, None] * theta ** (-np.arange(half) / half))[:, None]
    cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def attend(q, k, v, q_positions, k_positions, window):
    """q: [queries, heads, head_dim]; k, v: [keys, kv_heads, head_dim]; positions: [queries], [keys]."""
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    scores = np.einsum("qhd,khd->hqk", q, k) / np.asarray(np.sqrt(q.shape[-1]), q.dtype)
    ages = np.asarray(q_positions)[:, None] - np.asarray(k_positions)
    masked = (ages < 0) | (ages >= (window or np.inf))
    scores = np.where(masked, -np.inf, scores).astype(q.dtype)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", weights, v).reshape(len(q), -1)


class Cache:
    def __init__(self, layers):
        self.keys = [[] for _ in range(layers)]
        self.values = [[] for _ in range(layers)]
        self.positions = []
        self.turns = []  # how far each key has still to be rotated, in positions

    def lists(self):
        return [*self.keys, *self.values, self.positions, self.turns]

    def cut(self, begin, end):
        for rows in self.lists():
            del rows[begin:end]

    def copy(self, length=None):
        other = Cache(len(self.keys))
        for rows, copied in zip(self.lists(), other.lists(), strict=True):
            copied.extend(rows[:length])
        return other


class Engine:
    def __init__(self, config, weights):
        self.config, self.weights = config, weights
        self.caches, self.free, self.known = [], [], []

    def new_cache(self):
        cache = self.free.pop() if self.free else Cache(self.config.num_hidden_layers)
        self.caches.append(cache)
        return cache

    def prefill(self, tokens, cache):
        config, weights = self.config, self.weights
        self.settle(cache)
        first = cache.positions[-1] + 1 if cache.positions else 0
        positions = list(range(first, first + len(tokens)))
        cache.positions += positions
        cache.turns += [0] * len(tokens)
        x = weights["model.embed_tokens.weight"][tokens]
        for number in range(config.num_hidden_layers):
            x = self.layer(number, x, positions, cache)
        x = rms_norm(x, weights["model.norm.weight"], config.rms_norm_eps)
        head = "model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"
        return x[-1] @ weights[head].T

    def layer(self, number, x, positions, cache):
        config, eps = self.config, self.config.rms_norm_eps
        prefix = f"model.layers.{number}."
        w = {name.removeprefix(prefix): array for name, array in self.weights.items() if name.startswith(prefix)}
        h = rms_norm(x, w["input_layernorm.weight"], eps)
        q, k, v = (h @ w[f"self_attn.{n}_proj.weight"].T + w.get(f"self_attn.{n}_proj.bias", 0) for n in "qkv")
        q, k, v = (heads.reshape(len(x), -1, config.head_dim).astype(DTYPE) for heads in (q, k, v))
        if config.qk_norm:
            q, k = rms_norm(q, w["self_attn.q_norm.weight"], eps), rms_norm(k, w["self_attn.k_norm.weight"], eps)
        q, k = (rope(heads, positions, config.rope.rope_theta) for heads in (q, k))
        cache.keys[number].extend(k)
        cache.values[number].extend(v)
        keys, values = np.array(cache.keys[number]), np.array(cache.values[number])
        window = config.sliding_windows[number]
        x = x + attend(q, keys, values, positions, cache.positions, window) @ w["self_attn.o_proj.weight"].T
        h = rms_norm(x, w["post_attention_layernorm.weight"], eps)
        gate = h @ w["mlp.gate_proj.weight"].T
        inner = gate / (1 + np.exp(-gate)) * (h @ w["mlp.up_proj.weight"].T)
        return x + inner @ w["mlp.down_proj.weight"].T

    def settle(self, cache):
        """Rotate the keys of shifted tokens."""
        if any(cache.turns):
            for keys in cache.keys:
                keys[:] = rope(np.array(keys), cache.turns, self.config.rope.rope_theta)
            cache.turns[:] = [0] * len(cache.turns)

    def decode(self, token, cache):
        return self.prefill([token], cache)

    def batch(self, sequences):
        return np.array([self.prefill(tokens, cache) for tokens, cache in sequences])

    def truncate(self, cache, length):
        cache.cut(length, None)

    def fork(self, cache):
        return self.copy_prefix(cache, len(cache.positions))

    def copy_prefix(self, cache, length):
        self.caches.append(cache.copy(length))
        return self.caches[-1]

    def remove(self, cache, begin, end):
        cache.cut(begin, end)

    def shift(self, cache, begin, by):
        for index in range(begin, len(cache.positions)):
            cache.positions[index] += by
            cache.turns[index] += by

    def keep(self, cache):
        for other in self.caches:
            if other is not cache:
                other.cut(0, None)

    def reorder(self, caches, order):
        return [self.fork(caches[number]) for number in order]

    def save(self, cache):
        self.settle(cache)
        return cache.copy()

    def restore(self, state):
        return self.fork(state)

    def release(self, cache):
        cache.cut(0, None)
        self.caches = [other for other in self.caches if other is not cache]
        self.free.append(cache)

    def generate(self, prompts, options):
        requests = [Request(self, prompt, options) for prompt in prompts for _ in range(options["n"])]
        while running := [request for request in requests if not request.finish]:
            for request in running[: options["budget"]]:
                request.step()
        return [(request.tokens, request.logprobs, request.finish) for request in requests]

    def stream(self, prompt, options):
        request = Request(self, prompt, options)
        while not request.finish:
            request.step()
            yield request.tokens[-1]

    def known_prefix(self, prompt):
        """Return a cache with the longest known beginning of a prompt, and its length."""
        best, shared = self.new_cache(), 0
        for tokens, cache in self.known:
            most = min(len(tokens), len(prompt) - 1)  # the last token of the prompt gives the logits
            length = next((n for n in range(most) if tokens[n] != prompt[n]), most)
            if length > shared:
                best, shared = self.copy_prefix(cache, length), length
        return best, shared

    def sample(self, logits, options, draw):
        logits = np.array(logits)
        temperature, top_k = options.get("temperature", 1.0), options.get("top_k", len(logits))
        if temperature == 0:
            return int(logits.argmax())
        ranked = np.argsort(-logits, kind="stable")
        probs = np.exp((logits[ranked] - logits.max()) / temperature)
        probs = probs / probs.sum()
        probs[top_k:] = 0
        probs /= probs.sum()
        before = np.cumsum(probs) - probs
        kept = (before < options.get("top_p", 1.0)) & (probs >= options.get("min_p", 0.0) * probs[0])
        kept[0] = True
        probs = np.where(kept, probs, 0)
        return int(ranked[draw(probs / probs.sum())])


class Request:
    def __init__(self, engine, prompt, options):
        self.engine, self.options = engine, options
        self.tokens, self.logprobs, self.finish = [], [], None
        eos = options["eos"]
        self.ends = [eos] if isinstance(eos, int) else eos or []
        self.cache, begin = engine.known_prefix(prompt) if options["prefix"] else (engine.new_cache(), 0)
        chunk = options["chunk"] or len(prompt)
        for first in range(begin, len(prompt), chunk):
            self.logits = engine.prefill(prompt[first : first + chunk], self.cache)
        if options["prefix"]:
            engine.known.append((list(prompt), engine.fork(self.cache)))

    def step(self):
        if self.tokens:
            self.logits = self.engine.decode(self.tokens[-1], self.cache)
        token = int(self.logits.argmax())
        shifted = (self.logits - self.logits.max()).astype(np.float64)
        self.tokens.append(token)
        self.logprobs.append(float(shifted[token] - np.log(np.exp(shifted).sum())))
        if token in self.ends:
            self.finish = "eos"
        elif len(self.tokens) == self.options["max_new_tokens"]:
            self.finish = "length"
