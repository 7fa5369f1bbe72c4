"""Wrong answers to `causal_mask`."""

import numpy as np


def _mask(query_position, keys, window, shift=0):
    visible = np.arange(keys) <= query_position + shift
    return visible if window is None else visible & (np.arange(keys) > query_position - window)


def no_offset(queries, keys, start, window):
    """The offset of the cache is missing: the first query is at position `start`, so it sees all cached keys."""
    return _mask(np.arange(queries)[:, None], keys, window)


def not_itself(queries, keys, start, window):
    """A query must see itself: the comparison is <=, not <."""
    return _mask(start + np.arange(queries)[:, None], keys, window, shift=-1)


def sees_one_ahead(queries, keys, start, window):
    """A query sees one later token: compare positions, not counts."""
    return _mask(start + np.arange(queries)[:, None], keys, window, shift=1)


def hidden_instead_of_visible(queries, keys, start, window):
    """True and False are exchanged: True means that the query sees the key."""
    return ~_mask(start + np.arange(queries)[:, None], keys, window)


def window_one_too_long(queries, keys, start, window):
    """The window is one too long: it includes the query, so with window 1 a query sees only itself."""
    return _mask(start + np.arange(queries)[:, None], keys, None if window is None else window + 1)


def window_ignored(queries, keys, start, window):
    """The window was not applied: hide the keys that are `window` or more positions before the query."""
    return _mask(start + np.arange(queries)[:, None], keys, None)


def diagonal_from_the_corner(queries, keys, start, window):
    """np.tril knows neither `start` nor `window`: its diagonal begins at column 0. Compare the positions instead."""
    return np.tril(np.ones((queries, keys), dtype=bool))


def only_itself(queries, keys, start, window):
    """np.eye marks one key for each query, from column 0: a query sees all earlier keys in the window, too."""
    return np.eye(queries, keys, dtype=bool)
