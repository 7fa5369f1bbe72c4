"""A sliding window has one token too many."""

from minillm.attention import causal_mask

ENGINE = "mlx-lm"
KIND = "sliding window"
THREAD = "https://github.com/ml-explore/mlx-lm/pull/390"
TITLE = "fix window attention mask"
SEEN = "Nothing, until the text is longer than the window. Then prompt and answer do not follow the same rule."
CAUSE = """
With a window of 128 a token saw itself and 128 tokens before it. The model was trained with 128 in all, and the cache
kept 128 during generation.
"""
PROPERTY = "prefill_is_naive"
MODULE, FUNCTION = "minillm.attention", "causal_mask"
PATCH = [("(key_position > query_position - window)", "(key_position >= query_position - window)")]


def answer(_):
    rows = causal_mask(queries=5, keys=5, start=0, window=3).astype(int)
    return ["window 3, queries down, keys across:", *(" ".join(map(str, row)) for row in rows)]
