"""Bugs to plant in `engine.py`, then those for `estimates.py`: function, line, wrong line, and what it does."""

BUGS = (
    (
        "rope", "positions = first + np.arange(len(x))", "positions = np.arange(len(x))",
        "Positions were counted from 0 in every call, so tokens behind a filled cache were turned by a wrong angle.",
    ),
    (
        "attend", "hidden = np.arange(len(k)) > first + np.arange(len(q))[:, None]",
        "hidden = np.arange(len(k)) > len(k) - 1 + np.arange(len(q))[:, None]",
        "The mask hid nothing: with several new tokens at once, the first ones saw those behind them.",
    ),
    (
        "attend", "k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)",
        "k, v = np.tile(k, (1, group, 1)), np.tile(v, (1, group, 1))",
        "The wrong query heads shared a key head: it shows only if there are several key heads, each for a group.",
    ),
    (
        "attend", "scores = np.where(hidden, -np.inf, scores)", "scores = np.where(hidden, 0.0, scores)",
        "Hidden keys got the score 0 instead of -inf, so they were still seen a little.",
    ),
    (
        "truncate", "for rows in (*cache.keys, *cache.values):", "for rows in (*cache.keys[:-1], *cache.values[:-1]):",
        "The last layer was not truncated: what was rejected stayed in its cache.",
    ),
    (
        "truncate", "del rows[length:]", "del rows[length + 1 :]",
        "One token too many was kept.",
    ),
    (
        "fork", "copy.values = [list(rows) for rows in cache.values]", "copy.values = list(cache.values)",
        "The lists of values were shared by both caches: a fork's tokens appeared in the original.",
    ),
    (
        "batch", "return np.array([self.prefill(tokens, cache) for tokens, cache in sequences])",
        "return np.array([self.prefill(tokens, sequences[0][1]) for tokens, cache in sequences])",
        "All sequences of a batch ran over the cache of the first.",
    ),
    (
        "rms_norm", "return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight",
        "return x / np.sqrt((x * x).mean() + eps) * weight",
        "The mean was taken over all tokens at once, so a token's result depended on what ran beside it.",
    ),
    (
        "prefill", "return x[-1] @ weights[head].T", "return x.mean(axis=0) @ weights[head].T",
        "The logits were those of the mean of all new tokens, not of the last: one token at a time, it does not show.",
    ),
    (
        "decode", "return self.prefill([token], cache)", "return self.prefill([token], self.fork(cache))",
        "The token was appended to a copy: the cache never grew in decode.",
    ),
)  # fmt: skip

ESTIMATE_BUGS = (
    (
        "layer_weights", 'q, kv = model["heads"] * model["head_dim"], model["kv_heads"] * model["head_dim"]',
        'q, kv = model["heads"] * model["head_dim"], model["heads"] * model["head_dim"]',
        "Keys and values were given as many heads as queries: with grouped-query attention there are fewer.",
    ),
    (
        "step_bytes", "return NUMBER_BYTES * (layer_weights(model) + head_weights(model))",
        "return NUMBER_BYTES * parameters(model)",
        "The embedding was read in every step: only the rows of the tokens that run are looked up in it.",
    ),
    (
        "cache_bytes", 'return NUMBER_BYTES * 2 * model["layers"] * model["kv_heads"] * model["head_dim"] * tokens',
        'return NUMBER_BYTES * 2 * model["layers"] * model["hidden"] * tokens',
        "hidden_size was counted, as in the article's formula: it is the key/value heads that are kept.",
    ),
    (
        "pass_seconds", "pairs = new * cached + new * (new + 1) / 2", "pairs = new * (cached + new)",
        "Every query was compared with every key: the causal mask hides those behind it, half of a prompt's pairs.",
    ),
    (
        "pass_seconds", "flops += 2 * head_weights(model) * sequences",
        "flops += 2 * head_weights(model) * sequences * new",
        "The head was multiplied with every token of the prompt: only the last one's logits are wanted.",
    ),
    (
        "pass_seconds", "bytes_read = step_bytes(model) + cache_bytes(model, sequences * (cached + new))",
        "bytes_read = sequences * (step_bytes(model) + cache_bytes(model, cached + new))",
        "The weights were read once for each sequence: one read serves the whole batch, and only caches are its own.",
    ),
    (
        "pass_seconds", 'return max(flops / gpu["flops_per_s"], bytes_read / gpu["bytes_per_s"]) / gpus',
        'return (flops / gpu["flops_per_s"] + bytes_read / gpu["bytes_per_s"]) / gpus',
        "Arithmetic and reading were added: they go on at the same time, so only the longer counts.",
    ),
    (
        "most_sequences", 'free = 0.9 * gpus * gpu["memory"] - NUMBER_BYTES * parameters(model)',
        'free = 0.9 * (gpus * gpu["memory"] - NUMBER_BYTES * parameters(model))',
        "The tenth was taken of what the weights leave over: it is a tenth of the whole memory.",
    ),
    (
        "request_seconds", "prompt + done) for done in range(output - 1))", "prompt + done) for done in range(output))",
        "One step too many: prefill has given the first token already.",
    ),
    (
        "request_seconds", "return pass_seconds(model, gpu, gpus, sequences, prompt, 0) + sum(steps)",
        "return pass_seconds(model, gpu, gpus, 1, prompt, 0) + sum(steps)",
        "One prompt was prefilled, whatever the number of requests: their prompts are all in that pass.",
    ),
    (
        "dollars_per_million", 'return gpus * gpu["dollars_per_hour"] / 3600 * seconds / tokens * 1e6',
        'return gpu["dollars_per_hour"] / 3600 * seconds / tokens * 1e6',
        "One GPU was paid: all that hold the model cost money.",
    ),
    (
        "mean_wait", "return service_s * busy / (2 * (1 - busy))", "return service_s * busy / (1 - busy)",
        "That is the wait if service times vary as in M/M/1: if all are alike it is half of it.",
    ),
    (
        "tokens_per_round", "return sum(acceptance**number for number in range(guesses + 1))",
        "return sum(acceptance**number for number in range(1, guesses + 1))",
        "The model's own token was forgotten: every round gives it, whatever was guessed.",
    ),
)  # fmt: skip
