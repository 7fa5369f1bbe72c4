"""Bugs to plant in `engine.py`, then bugs for `estimates.py`: function, correct line, wrong line, explanation."""

BUGS = (
    (
        "rope", "positions = first + np.arange(len(x))", "positions = np.arange(len(x))",
        "Positions were counted from 0 in every call. So tokens after a filled cache were rotated by a wrong angle.",
    ),
    (
        "attend", "masked = np.arange(len(k)) > first + np.arange(len(q))[:, None]",
        "masked = np.arange(len(k)) > len(k) - 1 + np.arange(len(q))[:, None]",
        "The mask masked no key. With several new tokens in one pass, the first ones attended to later ones.",
    ),
    (
        "attend", "k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)",
        "k, v = np.tile(k, (1, group, 1)), np.tile(v, (1, group, 1))",
        "The wrong query heads shared a key head. This shows only with several key heads, each shared by a group.",
    ),
    (
        "attend", "scores = np.where(masked, -np.inf, scores)", "scores = np.where(masked, 0.0, scores)",
        "Masked keys got the score 0 instead of -inf. So they still got some attention weight.",
    ),
    (
        "truncate", "for rows in (*cache.keys, *cache.values):", "for rows in (*cache.keys[:-1], *cache.values[:-1]):",
        "The last layer was not truncated. The dropped tokens stayed in its cache.",
    ),
    (
        "truncate", "del rows[length:]", "del rows[length + 1 :]",
        "One token too many was kept: the token at index `length`.",
    ),
    (
        "fork", "copy.values = [list(rows) for rows in cache.values]", "copy.values = list(cache.values)",
        "Both caches shared the lists of values. So new values of the fork appeared in the original.",
    ),
    (
        "batch", "return np.array([self.prefill(tokens, cache) for tokens, cache in sequences])",
        "return np.array([self.prefill(tokens, sequences[0][1]) for tokens, cache in sequences])",
        "All sequences of a batch used the cache of the first sequence.",
    ),
    (
        "rms_norm", "return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight",
        "return x / np.sqrt((x * x).mean() + eps) * weight",
        "The mean was taken over all tokens. So the result of a token depended on the other tokens of the pass.",
    ),
    (
        "prefill", "return x[-1] @ weights[head].T", "return x.mean(axis=0) @ weights[head].T",
        "The logits came from the mean of all new tokens, not from the last one. With one new token it does not show.",
    ),
    (
        "decode", "return self.prefill([token], cache)", "return self.prefill([token], self.fork(cache))",
        "The token was appended to a copy. So the cache did not grow in decode.",
    ),
)  # fmt: skip

ESTIMATE_BUGS = (
    (
        "layer_weights", 'q, kv = model["heads"] * model["head_dim"], model["kv_heads"] * model["head_dim"]',
        'q, kv = model["heads"] * model["head_dim"], model["heads"] * model["head_dim"]',
        "Keys and values got as many heads as queries. With grouped-query attention they have fewer.",
    ),
    (
        "step_bytes", "return NUMBER_BYTES * (layer_weights(model) + head_weights(model))",
        "return NUMBER_BYTES * parameters(model)",
        "All of the embedding was read in every step. A step reads only the rows of its tokens.",
    ),
    (
        "cache_bytes", 'return NUMBER_BYTES * 2 * model["layers"] * model["kv_heads"] * model["head_dim"] * tokens',
        'return NUMBER_BYTES * 2 * model["layers"] * model["hidden"] * tokens',
        "hidden_size was counted, as in the article's formula. The cache holds only the key/value heads.",
    ),
    (
        "pass_seconds", "pairs = new * cached + new * (new + 1) / 2", "pairs = new * (cached + new)",
        "Every query was compared with every key. The causal mask removes later keys: half of the pairs of a prompt.",
    ),
    (
        "pass_seconds", "flops += 2 * head_weights(model) * sequences",
        "flops += 2 * head_weights(model) * sequences * new",
        "The output head was computed for every token of the prompt. Only the last token needs logits.",
    ),
    (
        "pass_seconds", "bytes_read = step_bytes(model) + cache_bytes(model, sequences * (cached + new))",
        "bytes_read = sequences * (step_bytes(model) + cache_bytes(model, cached + new))",
        "The weights were read once per sequence. They are read once per batch; only the caches are read per sequence.",
    ),
    (
        "pass_seconds", 'return max(flops / gpu["flops_per_s"], bytes_read / gpu["bytes_per_s"]) / gpus',
        'return (flops / gpu["flops_per_s"] + bytes_read / gpu["bytes_per_s"]) / gpus',
        "The times of computing and reading were added. They overlap, so take the longer one.",
    ),
    (
        "most_sequences", 'free = 0.9 * gpus * gpu["memory"] - NUMBER_BYTES * parameters(model)',
        'free = 0.9 * (gpus * gpu["memory"] - NUMBER_BYTES * parameters(model))',
        "A tenth of the memory without the weights was reserved. It must be a tenth of the whole memory.",
    ),
    (
        "request_seconds", "prompt + done) for done in range(output - 1))", "prompt + done) for done in range(output))",
        "One step too many was counted. Prefill already gives the first token.",
    ),
    (
        "request_seconds", "return pass_seconds(model, gpu, gpus, sequences, prompt, 0) + sum(steps)",
        "return pass_seconds(model, gpu, gpus, 1, prompt, 0) + sum(steps)",
        "Only one prompt was prefilled. The pass must contain the prompts of all requests.",
    ),
    (
        "dollars_per_million", 'return gpus * gpu["dollars_per_hour"] / 3600 * seconds / tokens * 1e6',
        'return gpu["dollars_per_hour"] / 3600 * seconds / tokens * 1e6',
        "Only one GPU was paid. All GPUs that hold the model are paid.",
    ),
    (
        "mean_wait", "return service_s * busy / (2 * (1 - busy))", "return service_s * busy / (1 - busy)",
        "That is the wait for random service times (M/M/1). For equal service times it is half as long.",
    ),
    (
        "tokens_per_round", "return sum(acceptance**count for count in range(drafted + 1))",
        "return sum(acceptance**count for count in range(1, drafted + 1))",
        "The target model's own token is missing. Every round adds it to the accepted tokens.",
    ),
)  # fmt: skip
