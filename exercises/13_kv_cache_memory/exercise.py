"""How much memory a KV cache takes.

Where the engine does it: `KVCache.nbytes` in minillm/kv_cache/contiguous.py. This number decides how many requests fit
on a machine next to the weights. Grouped-query attention was invented to make it smaller (Ainslie et al., 2305.13245).
"""


# %% learner
def kv_cache_memory(
    layers: int, heads: int, kv_heads: int, head_dim: int, tokens: int, sequences: int, number_bytes: int
) -> int:
    """Return the bytes of all keys and values.

    layers: the number of layers. Each has its own keys and values.
    heads, kv_heads: the number of query heads, and of the KV heads that they share.
    head_dim: the numbers in one key, and in one value, of one head.
    tokens: the number of tokens of each sequence.
    sequences: the number of sequences.
    number_bytes: bytes of one number: 2 for float16, 4 for float32.
    returns: the total number of bytes.
    """
    # %% solution
    return 2 * layers * kv_heads * head_dim * tokens * sequences * number_bytes


# %% hints
HINTS = (
    "The cache has one key and one value of each token, in each layer, for each head *that is cached*. Which of the "
    "two kinds of head is cached?",
    "For each sequence, the keys are [layers, kv_heads, tokens, head_dim]. The values have the same shape.",
    "Multiply: 2 for keys and values, layers, KV heads, head_dim, tokens, sequences, bytes of a number.",
    "return 2 * layers * kv_heads * head_dim * tokens * sequences * number_bytes",
)


# %% check
LESSON = 7
CONCEPTS = ("memory",)


def cases(random):
    names = ("layers", "heads", "kv_heads", "head_dim", "tokens", "sequences", "number_bytes")
    for numbers in (
        (1, 1, 1, 1, 1, 1, 1), (1, 2, 2, 3, 5, 1, 1), (1, 4, 2, 3, 5, 1, 1), (2, 4, 2, 3, 5, 1, 4),
        (2, 4, 2, 3, 5, 7, 4), (30, 9, 3, 64, 100, 1, 4), (32, 32, 32, 128, 500, 10, 2), (80, 64, 8, 128, 4096, 16, 2),
    ):  # fmt: skip
        yield dict(zip(names, numbers, strict=True))


def twice_the_tokens_take_twice_the_memory(inputs, result, run):
    """Twice the tokens take twice the memory."""
    return run(tokens=2 * inputs["tokens"]) == 2 * result


def query_heads_take_none(inputs, result, run):
    """More query heads with the same KV heads take no more memory."""
    return run(heads=4 * inputs["heads"]) == result


PROPERTIES = (twice_the_tokens_take_twice_the_memory, query_heads_take_none)
