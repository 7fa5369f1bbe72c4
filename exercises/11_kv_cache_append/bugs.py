"""Wrong answers to `kv_cache_append`."""

import numpy as np


def written_at_the_beginning(keys, values, length, new_keys, new_values):
    """The new tokens were written over the first ones: write them after the cached ones, from `length` on."""
    keys[:, : len(new_keys)] = new_keys.swapaxes(0, 1)
    values[:, : len(new_values)] = new_values.swapaxes(0, 1)
    return length + len(new_keys)


def length_not_moved(keys, values, length, new_keys, new_values):
    """The old length was returned: the next token would be written over the new ones."""
    keys[:, length : length + len(new_keys)] = new_keys.swapaxes(0, 1)
    values[:, length : length + len(new_values)] = new_values.swapaxes(0, 1)
    return length


def length_counts_one(keys, values, length, new_keys, new_values):
    """The length grew by 1: it must grow by the number of new tokens, and prefill writes many at once."""
    keys[:, length : length + len(new_keys)] = new_keys.swapaxes(0, 1)
    values[:, length : length + len(new_values)] = new_values.swapaxes(0, 1)
    return length + 1


def only_the_new_tokens_counted(keys, values, length, new_keys, new_values):
    """The number of new tokens was returned: the new length also has the tokens that were cached before."""
    keys[:, length : length + len(new_keys)] = new_keys.swapaxes(0, 1)
    values[:, length : length + len(new_values)] = new_values.swapaxes(0, 1)
    return len(new_keys)


def axes_reshaped(keys, values, length, new_keys, new_values):
    """The axes were reshaped, not swapped: numbers of one token are now in another head."""
    shape = (new_keys.shape[1], new_keys.shape[0], new_keys.shape[2])
    keys[:, length : length + len(new_keys)] = new_keys.reshape(shape)
    values[:, length : length + len(new_values)] = new_values.reshape(shape)
    return length + len(new_keys)


def values_are_keys(keys, values, length, new_keys, new_values):
    """The keys were written to both arrays: write the new values to `values`."""
    keys[:, length : length + len(new_keys)] = new_keys.swapaxes(0, 1)
    values[:, length : length + len(new_keys)] = new_keys.swapaxes(0, 1)
    return length + len(new_keys)


def a_copy_was_changed(keys, values, length, new_keys, new_values):
    """The caller's cache did not change: np.concatenate makes new arrays, so write into `keys` and `values`."""
    keys = np.concatenate([keys[:, :length], new_keys.swapaxes(0, 1)], axis=1)
    values = np.concatenate([values[:, :length], new_values.swapaxes(0, 1)], axis=1)
    return keys.shape[1]
