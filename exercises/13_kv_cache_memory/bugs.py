"""Wrong answers to `kv_cache_memory`."""


def query_heads_counted(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """Query heads were counted: only KV heads are cached, and several query heads share one."""
    return 2 * layers * heads * head_dim * tokens * sequences * number_bytes


def only_keys(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """The result is half of what it should be: both keys and values are cached."""
    return layers * kv_heads * head_dim * tokens * sequences * number_bytes


def one_layer(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """The result is that of one layer: each layer has its own keys and values."""
    return 2 * kv_heads * head_dim * tokens * sequences * number_bytes


def numbers_instead_of_bytes(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """The result is in numbers, not bytes: multiply by the bytes of a number."""
    return 2 * layers * kv_heads * head_dim * tokens * sequences


def one_sequence(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """The result is that of one sequence: each sequence has its own cache."""
    return 2 * layers * kv_heads * head_dim * tokens * number_bytes


def tokens_squared(layers, heads, kv_heads, head_dim, tokens, sequences, number_bytes):
    """The memory grows with the square of the tokens: the scores do, but they are not cached. It must be linear."""
    return 2 * layers * kv_heads * head_dim * tokens**2 * sequences * number_bytes
