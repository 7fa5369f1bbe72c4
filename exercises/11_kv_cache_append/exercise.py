"""A KV cache grows: new keys and values are laid behind those held.

Where the engine does it: `KVCache.write` in minillm/kv_cache/contiguous.py. Room for `capacity` tokens is taken at
once; `length` is the one thing that says which entries count.
"""

# %% learner
import numpy as np


def kv_cache_append(
    keys: np.ndarray, values: np.ndarray, length: int, new_keys: np.ndarray, new_values: np.ndarray
) -> int:
    """Write the keys and values of new tokens into the cache, in place.

    keys, values: [kv_heads, capacity, head_dim]: the cache; the first `length` entries of axis 1 count. Change them.
    length: how many tokens it holds.
    new_keys, new_values: [new, kv_heads, head_dim]: as the projections give them, tokens first. There is room for them.
    returns: the new length.
    """
    # %% solution
    end = length + len(new_keys)
    keys[:, length:end] = new_keys.swapaxes(0, 1)
    values[:, length:end] = new_values.swapaxes(0, 1)
    return end


# %% hints
HINTS = (
    "The cache has a head's tokens side by side, since attention reads a head at a time; the new ones come token by "
    "token. So swap their first two axes and write them behind what is held.",
    "new_keys.swapaxes(0, 1) is [kv_heads, new, head_dim]; its place is keys[:, length : length + new].",
    "1. where they end; 2. write the keys; 3. write the values; 4. return the end.",
    "keys[:, length:end] = new_keys.swapaxes(0, 1)",
)


# %% harness
def call(function, keys, values, length, new_keys, new_values):
    """The cache after the call counts, not only what was returned."""
    length = function(keys, values, length, new_keys, new_values)
    return {"length": length, "keys": keys, "values": values}


# %% check
LESSON = 6
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


def what_is_held_stays(inputs, result, run):
    """The tokens that were held before are as they were."""
    return np.array_equal(result["keys"][:, : inputs["length"]], inputs["keys"][:, : inputs["length"]])


def length_grows_by_the_new_tokens(inputs, result, run):
    """The length grows by the number of new tokens."""
    return result["length"] == inputs["length"] + len(inputs["new_keys"])


PROPERTIES = (length_grows_by_the_new_tokens, what_is_held_stays)
