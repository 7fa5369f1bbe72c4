"""Bugs to plant in `engine.py`: the function, the line as it is, as it will be, and what it does."""

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
