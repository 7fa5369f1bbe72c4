"""Attention over a cache: few queries, many keys.

Where the engine does it: `attend` in minillm/attention.py. The queries of the new tokens are compared with the keys of
all tokens so far, which the cache has kept. Several query heads may share one KV head (grouped-query attention).
"""

# %% learner
import numpy as np


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, start: int) -> np.ndarray:
    """Return softmax(q k^T / sqrt(head_dim)) v for each head, with the causal mask.

    q: [queries, heads, head_dim]: the new tokens, at positions start, start + 1, ...
    k, v: [keys, kv_heads, head_dim]: all tokens, those before `start` and the new ones. Key j is at position j.
    start: the number of tokens that were cached before.
    returns: [queries, heads, head_dim]. Query head h uses KV head h // (heads / kv_heads).
    """
    # %% solution
    queries, heads, head_dim = q.shape
    group = heads // k.shape[1]
    keys, values = (np.repeat(x, group, axis=1).swapaxes(0, 1) for x in (k, v))  # [heads, keys, head_dim]
    scores = q.swapaxes(0, 1) @ keys.swapaxes(1, 2) / np.sqrt(head_dim)  # [heads, queries, keys]
    hidden = np.arange(len(k)) > start + np.arange(queries)[:, None]  # [queries, keys]
    scores = np.where(hidden, -np.inf, scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return (weights @ values).swapaxes(0, 1)  # [queries, heads, head_dim]


# %% hints
HINTS = (
    "Each query has a score for every key that it may see. Softmax turns the scores into weights. The result is the "
    "mean of the values with these weights. A hidden key gets the score -inf *before* softmax, so its weight is 0.",
    "Move the heads to the front: q is [heads, queries, head_dim], k and v are repeated to [heads, keys, head_dim]. "
    "The scores are [heads, queries, keys], the mask is [queries, keys].",
    "1. Repeat k and v for the heads that share them. 2. Compute the scores and divide by sqrt(head_dim). 3. Hide keys "
    "after position start + query. 4. Softmax over the keys. 5. weights @ values. 6. Move the heads back to axis 1.",
    "scores = q.swapaxes(0, 1) @ keys.swapaxes(1, 2) / np.sqrt(head_dim)",
)


# %% check
LESSON = 3
CONCEPTS = ("kv_cache", "prefill", "decode")


def cases(random):
    shapes = [(1, 1, 1, 2, 0), (2, 1, 1, 2, 0), (1, 1, 1, 2, 2), (2, 2, 2, 2, 1), (2, 2, 1, 4, 3), (2, 4, 2, 4, 2)]
    for queries, heads, kv_heads, head_dim, start in [*shapes, (3, 6, 2, 4, 5)]:
        q = random.normal(size=(queries, heads, head_dim))
        k, v = random.normal(size=(2, start + queries, kv_heads, head_dim))
        yield {"q": q, "k": k, "v": v, "start": start}
    large = np.full((2, 1, 2), 40.0)  # the exp of the scores overflows
    yield {"q": large, "k": large, "v": np.array([[[1.0, 2.0]], [[3.0, 4.0]]]), "start": 0}
    rows, keys = np.array([[[1.0]], [[1000.0]]]), np.array([[[1.0]], [[2.0]]])  # scores are products of two numbers
    yield {"q": rows, "k": keys, "v": keys, "start": 0}  # rows far apart
    yield {"q": rows[:1], "k": np.array([[[0.0]], [[2000.0]]]), "v": keys, "start": 1}  # keys far apart
    yield {"q": -rows, "k": 1e12 * keys, "v": keys, "start": 0}  # far below 0
    heads = np.array([[[1.0], [1000.0]]])
    yield {"q": heads, "k": np.array([[[1.0]], [[2.0]]]), "v": keys, "start": 1}  # heads far apart


def later_tokens_change_nothing(inputs, result, run):
    """A query's result does not depend on later tokens: if the last token changes, the other results do not."""
    k, v = inputs["k"].copy(), inputs["v"].copy()
    k[-1] += 1
    v[-1] += 1
    return np.allclose(run(k=k, v=v)[:-1], result[:-1])


def cached_is_uncached(inputs, result, run):
    """The last query alone, with the same keys and values, gives the same result: cached == uncached."""
    return np.allclose(run(q=inputs["q"][-1:], start=len(inputs["k"]) - 1)[0], result[-1])


def equal_values_stay(inputs, result, run):
    """If all values are 1, every result is 1, because the weights sum to 1."""
    return np.allclose(run(v=np.ones_like(inputs["v"])), 1)


PROPERTIES = (equal_values_stay, later_tokens_change_nothing, cached_is_uncached)


def plug(function):
    """Keys and values of the engine come in segments [kv_heads, keys, head_dim]. The function gets them as one."""

    def attend(q, segments, start, window):
        if window is not None:
            raise ValueError("this model has a sliding window, which the exercise `attention` does not support")
        k, v = (np.concatenate(arrays, axis=1).swapaxes(0, 1) for arrays in zip(*segments, strict=True))
        return function(q, k, v, start).reshape(len(q), -1)

    return {"minillm.attention.attend": attend}


def engine(q, k, v, start):
    from minillm.attention import attend

    return attend(q, [(k.swapaxes(0, 1), v.swapaxes(0, 1))], start, None).reshape(q.shape)
