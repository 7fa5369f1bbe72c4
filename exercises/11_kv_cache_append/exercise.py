"""Append to a KV cache: write new keys and values after the cached ones.

Where the engine does it: `KVCache.write` in minillm/kv_cache/contiguous.py. The memory for `capacity` tokens is
allocated once. Only `length` says how many of the slots are in use.
"""

# %% learner
import numpy as np


def kv_cache_append(
    keys: np.ndarray, values: np.ndarray, length: int, new_keys: np.ndarray, new_values: np.ndarray
) -> int:
    """Write the keys and values of new tokens into the cache, in place.

    keys, values: [kv_heads, capacity, head_dim]: the cache, to be changed. The first `length` slots of axis 1 are used.
    length: the number of cached tokens.
    new_keys, new_values: [new, kv_heads, head_dim]: from the linear layers, tokens first. There are enough free slots.
    returns: the new length.
    """
    # %% solution
    end = length + len(new_keys)
    keys[:, length:end] = new_keys.swapaxes(0, 1)
    values[:, length:end] = new_values.swapaxes(0, 1)
    return end


# %% hints
HINTS = (
    "In the cache the tokens of one head are next to each other, because attention reads one head at a time. New keys "
    "and values come token by token. So swap their first two axes and write them after the cached tokens.",
    "new_keys.swapaxes(0, 1) is [kv_heads, new, head_dim]. It is written to keys[:, length : length + new].",
    "1. Compute the new length. 2. Write the keys. 3. Write the values. 4. Return the new length.",
    "keys[:, length:end] = new_keys.swapaxes(0, 1)",
)


# %% harness
def call(function, keys, values, length, new_keys, new_values):
    """Call it, and return the changed cache with the length."""
    length = function(keys, values, length, new_keys, new_values)
    return {"length": length, "keys": keys, "values": values}


# %% check
LESSON = 7
CONCEPTS = ("decode", "prefill")
IN_PLACE = True


def cases(random):
    for kv_heads, capacity, head_dim, length, new in (
        (1, 2, 1, 0, 1), (1, 3, 1, 1, 1), (1, 4, 2, 2, 1), (2, 3, 1, 0, 2), (2, 5, 2, 1, 3), (3, 8, 4, 3, 3),
        (2, 6, 3, 4, 2),
    ):  # fmt: skip
        cache = random.normal(size=(2, kv_heads, capacity, head_dim))
        new_tokens = random.normal(size=(2, new, kv_heads, head_dim))
        yield {
            "keys": cache[0], "values": cache[1], "length": length,
            "new_keys": new_tokens[0], "new_values": new_tokens[1],
        }  # fmt: skip


def cached_tokens_stay(inputs, result, run):
    """The tokens that were cached before do not change."""
    return np.array_equal(result["keys"][:, : inputs["length"]], inputs["keys"][:, : inputs["length"]])


def length_grows_by_the_new_tokens(inputs, result, run):
    """The length grows by the number of new tokens."""
    return result["length"] == inputs["length"] + len(inputs["new_keys"])


PROPERTIES = (length_grows_by_the_new_tokens, cached_tokens_stay)


def plug(function):
    """Every layer calls it in every pass, unless the cache is in int8."""

    def write(memory, layer, slots, k, v):
        function(memory.keys[layer], memory.values[layer], slots.start, k, v)

    return {"minillm.kv_cache.memory.CacheMemory.write": write}
