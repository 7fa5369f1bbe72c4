"""The size of the KV cache from a config.json, in GB and in GiB.

Where the engine does it: `cache_bytes_per_token` in minillm/estimate/memory.py, on a config that `read_config` has
completed. A data sheet uses GB (1000**3 bytes). `nvidia-smi` and most tools use GiB (1024**3 bytes). So 80 GB are 74.5
GiB.
"""


# %% learner
def kv_cache_size(config: dict[str, int], tokens: int, number_bytes: int) -> tuple[float, float]:
    """Return the size of a KV cache, in GB and in GiB.

    config: the contents of config.json: num_hidden_layers, hidden_size and num_attention_heads. num_key_value_heads may
        be missing; then there are as many key/value heads as query heads. head_dim may be missing; then it is
        hidden_size divided by the number of query heads.
    tokens: the number of tokens in the cache, of all sequences together.
    number_bytes: bytes per number: 2 for float16.
    returns: (GB, GiB).
    """
    # %% solution
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    head_dim = config.get("head_dim", config["hidden_size"] // heads)
    size = 2 * config["num_hidden_layers"] * kv_heads * head_dim * tokens * number_bytes
    return size / 1000**3, size / 1024**3


# %% hints
HINTS = (
    "The formula is that of the exercise kv_cache_memory. Two things are new. Two of its numbers may be missing from "
    "the config, and then they follow from the others. And the size has two units.",
    "config.get(name, default) is an integer; the results are two floats, the second about 7% smaller.",
    "1. the query heads; 2. the key/value heads, by default as many; 3. head_dim, by default hidden_size divided by "
    "the *query* heads; 4. the bytes of the keys and values of all layers and tokens; 5. divide by 1000**3 and by "
    "1024**3.",
    'head_dim = config.get("head_dim", config["hidden_size"] // heads)',
)


# %% check
LESSON = 11
CONCEPTS = ("memory", "estimate")


def cases(random):
    yield _case(1, 8, 2, None, None, 10, 2)
    yield _case(3, 8, 2, None, None, 10, 4)
    yield _case(2, 64, 8, 2, None, 100, 2)
    yield _case(2, 64, 8, None, 16, 100, 2)
    yield _case(2, 64, 8, 2, 16, 1000, 2)
    yield _case(32, 4096, 32, None, None, 5000, 2)  # Llama 2 7B
    yield _case(80, 8192, 64, 8, None, 5000, 2)  # Llama 2 70B
    yield _case(28, 1024, 16, 8, 128, 5000, 2)  # Qwen3 0.6B: head_dim is larger than hidden_size / heads
    for _ in range(3):
        groups, kv_heads, head_dim, layers, tokens = (int(number) for number in random.integers(2, 9, 5))
        heads = groups * kv_heads
        yield _case(layers, heads * head_dim, heads, kv_heads, None, 100 * tokens, 2)


def _case(layers, hidden, heads, kv_heads, head_dim, tokens, number_bytes):
    config = {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads}
    config |= {} if kv_heads is None else {"num_key_value_heads": kv_heads}
    config |= {} if head_dim is None else {"head_dim": head_dim}
    return {"config": config, "tokens": tokens, "number_bytes": number_bytes}


def both_are_the_same_bytes(inputs, result, run):
    """GB times 1000**3 must equal GiB times 1024**3. So the number of GiB must be smaller."""
    gigabytes, gibibytes = result
    return gibibytes < gigabytes and abs(gigabytes * 1000**3 / (gibibytes * 1024**3) - 1) < 1e-9


def defaults_can_be_explicit(inputs, result, run):
    """A config that contains the missing values explicitly must give the same size."""
    heads = inputs["config"]["num_attention_heads"]
    defaults = {"num_key_value_heads": heads, "head_dim": inputs["config"]["hidden_size"] // heads}
    return run(config={**defaults, **inputs["config"]}) == result


PROPERTIES = (both_are_the_same_bytes, defaults_can_be_explicit)
