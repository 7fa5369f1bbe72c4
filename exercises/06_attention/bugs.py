"""Wrong answers to `attention`."""

import numpy as np


def _attention(q, k, v, start, scale=None, repeat=np.repeat, axis=-1, hidden=-np.inf, subtract=None):
    queries, heads, head_dim = q.shape
    keys, values = (repeat(x, heads // k.shape[1], axis=1).swapaxes(0, 1) for x in (k, v))
    scores = q.swapaxes(0, 1) @ keys.swapaxes(1, 2) / (np.sqrt(head_dim) if scale is None else scale)
    if hidden is not None:
        scores = np.where(np.arange(len(k)) > start + np.arange(queries)[:, None], hidden, scores)
    weights = np.exp(scores - (scores.max(axis=-1, keepdims=True) if subtract is None else subtract(scores)))
    return (weights / weights.sum(axis=axis, keepdims=True) @ values).swapaxes(0, 1)


def no_mask(q, k, v, start):
    """Queries see later tokens: hide the keys after position start + query before softmax."""
    return _attention(q, k, v, start, hidden=None)


def offset_missing(q, k, v, start):
    """The mask begins at 0: the first query is at position `start`, and it sees all cached keys."""
    return _attention(q, k, v, 0)


def not_scaled(q, k, v, start):
    """The scores are not divided by sqrt(head_dim): softmax is too sharp."""
    return _attention(q, k, v, start, scale=1.0)


def scaled_by_head_dim(q, k, v, start):
    """The scores are divided by head_dim instead of its square root: softmax is too flat."""
    return _attention(q, k, v, start, scale=q.shape[-1])


def heads_tiled(q, k, v, start):
    """The wrong heads share a KV head: neighbouring heads share one, so use np.repeat, not np.tile."""
    return _attention(q, k, v, start, repeat=lambda x, group, axis: np.tile(x, (1, group, 1)))


def softmax_over_queries(q, k, v, start):
    """The weights were normalised over the queries: for each query, the weights of its keys sum to 1."""
    return _attention(q, k, v, start, axis=-2)


def hidden_after_softmax(q, k, v, start):
    """Hidden weights were set to 0 after softmax, so a row does not sum to 1: hide the scores before, with -inf."""
    queries, heads, head_dim = q.shape
    keys, values = (np.repeat(x, heads // k.shape[1], axis=1).swapaxes(0, 1) for x in (k, v))
    scores = q.swapaxes(0, 1) @ keys.swapaxes(1, 2) / np.sqrt(head_dim)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    visible = np.arange(len(k)) <= start + np.arange(queries)[:, None]
    return (weights * visible @ values).swapaxes(0, 1)


def exp_of_large_scores(q, k, v, start):
    """The exp of a large score overflows: subtract the maximum of each row before exp. The weights stay the same."""
    queries, heads, head_dim = q.shape
    keys, values = (np.repeat(x, heads // k.shape[1], axis=1).swapaxes(0, 1) for x in (k, v))
    scores = q.swapaxes(0, 1) @ keys.swapaxes(1, 2) / np.sqrt(head_dim)
    visible = np.arange(len(k)) <= start + np.arange(queries)[:, None]
    weights = np.exp(np.where(visible, scores, -np.inf))
    return (weights / weights.sum(axis=-1, keepdims=True) @ values).swapaxes(0, 1)


def one_maximum_for_all_rows(q, k, v, start):
    """One maximum was subtracted from all scores, so exp of a low row becomes 0: use the maximum of each row."""
    return _attention(q, k, v, start, subtract=np.max)


def one_maximum_for_all_heads(q, k, v, start):
    """One maximum was subtracted from all heads, so exp of a low row becomes 0: each head has its own maximum."""
    return _attention(q, k, v, start, subtract=lambda scores: scores.max(axis=(0, 2), keepdims=True))


def first_score_subtracted(q, k, v, start):
    """The first score of each row was subtracted: another one may be far larger, so subtract the row's maximum."""
    return _attention(q, k, v, start, subtract=lambda scores: scores[..., :1])


def hidden_with_a_finite_score(q, k, v, start):
    """Hidden keys got a finite score, and a visible score may be lower: hide them with -inf."""
    return _attention(q, k, v, start, hidden=-100.0)
