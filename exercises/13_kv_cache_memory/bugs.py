"""Wrong answers to `kv_cache_memory`."""


def query_heads_counted(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """Query heads were counted: only key/value heads are kept, and several query heads share one."""
    return 2 * layers * heads * head_dim * tokens * sequences * number_bytes


def only_keys(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """It is half of what it should be: both keys and values are kept."""
    return layers * kv_heads * head_dim * tokens * sequences * number_bytes


def one_layer(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """That is one layer: each layer has keys and values of its own."""
    return 2 * kv_heads * head_dim * tokens * sequences * number_bytes


def numbers_instead_of_bytes(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """Those are numbers, not bytes: multiply by the bytes of a number."""
    return 2 * layers * kv_heads * head_dim * tokens * sequences


def one_sequence(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """That is one sequence: each has a cache of its own."""
    return 2 * layers * kv_heads * head_dim * tokens * number_bytes


def tokens_squared(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """Memory grows with the square of the tokens: that is the scores', which nobody keeps; the cache is linear."""
    return 2 * layers * kv_heads * head_dim * tokens**2 * sequences * number_bytes
