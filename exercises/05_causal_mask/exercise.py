"""The causal mask: a query sees no later keys, also after cached tokens.

Where the engine does it: `causal_mask` in minillm/attention.py. New tokens see themselves and all tokens before them.
If `start` tokens are cached already, the diagonal of the mask moves `start` columns to the right.
"""

# %% learner
import numpy as np


def causal_mask(queries: int, keys: int, start: int, window: int | None) -> np.ndarray:
    """Return which keys each query sees.

    queries: the number of new tokens. The first of them is at position `start`.
    keys: the number of all tokens, cached and new. Key j is at position j.
    window: how many tokens a query sees at most, including itself (a sliding window). None means all.
    returns: [queries, keys], bool. True where the key is the query itself or before it, and within the window.
    """
    # %% solution
    query_position = start + np.arange(queries)[:, None]  # [queries, 1]
    key_position = np.arange(keys)  # [keys]
    visible = key_position <= query_position  # [queries, keys]
    return visible if window is None else visible & (key_position > query_position - window)


# %% hints
HINTS = (
    "Write down the position of each query and of each key. Then the mask is one comparison of positions.",
    "The query positions are a column [queries, 1], the key positions a row [keys]. Comparing them gives "
    "[queries, keys].",
    "1. query_position = start + (0, 1, 2, ...). 2. key_position = (0, 1, 2, ...). 3. A key is visible if it is <= "
    "query. 4. With a window, it must also be > query - window.",
    "query_position = start + np.arange(queries)[:, None]",
)


# %% check
LESSON = 3
CONCEPTS = ("attention", "prefill", "kv_cache")


def cases(random):
    shapes = [(1, 1, 0, None), (2, 2, 0, None), (1, 3, 2, None), (2, 4, 2, None), (3, 3, 0, 2), (2, 5, 3, 1)]
    shapes += [(3, 8, 5, 4), (4, 6, 2, None), (5, 5, 0, 9)]
    for _ in range(4):
        queries, start = (int(number) for number in random.integers(1, 7, 2))
        shapes.append((queries, start + queries, start, int(random.integers(1, 6))))
    for queries, keys, start, window in sorted(shapes, key=lambda shape: shape[:2]):
        yield {"queries": queries, "keys": keys, "start": start, "window": window}


def every_query_sees_itself(inputs, result, run):
    """Every query sees its own position."""
    return all(result[i, inputs["start"] + i] for i in range(inputs["queries"]))


def no_query_sees_later_tokens(inputs, result, run):
    """No query sees a key after its own position."""
    return not any(result[i, inputs["start"] + i + 1 :].any() for i in range(inputs["queries"]))


PROPERTIES = (every_query_sees_itself, no_query_sees_later_tokens)


def plug(function):
    return {"minillm.attention.causal_mask": function}


def engine(queries, keys, start, window):
    from minillm.attention import causal_mask

    return causal_mask(queries, keys, start, window)
