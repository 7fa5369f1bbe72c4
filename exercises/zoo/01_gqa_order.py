"""Query heads use the key head of another group."""

ENGINE = "KerasHub"
KIND = "grouped-query attention"
THREAD = "https://github.com/keras-team/keras-hub/pull/1203"
TITLE = "Add `LlamaBackbone`"
SEEN = "A model with as many key heads as query heads is right. One with fewer key heads writes nonsense."
CAUSE = """
The key heads were tiled (0, 1, 0, 1), but each has to be repeated (0, 0, 1, 1). The mistake was found in the review of
the code, before any user had it.
"""
PROPERTY = "prefill_is_naive"
MODULE, FUNCTION = "minillm.attention", "attend"
PATCH = [
    (
        "q.reshape(queries, kv_heads, heads // kv_heads, head_dim).transpose(1, 2, 0, 3)",
        "q.reshape(queries, heads // kv_heads, kv_heads, head_dim).transpose(2, 1, 0, 3)",
    ),
    ("output.transpose(2, 0, 1, 3)", "output.transpose(2, 1, 0, 3)"),
]
