"""Wrong answers to `causal_mask`."""

import numpy as np


def _mask(query_position, keys, window, behind=0):
    visible = np.arange(keys) <= query_position + behind
    return visible if window is None else visible & (np.arange(keys) > query_position - window)


def no_offset(queries, keys, start, window):
    """The cache's offset is missing: the first query stands at `start`, so it sees all the cached keys."""
    return _mask(np.arange(queries)[:, None], keys, window)


def not_itself(queries, keys, start, window):
    """A query must see itself: the comparison is <=, not <."""
    return _mask(start + np.arange(queries)[:, None], keys, window, behind=-1)


def sees_one_ahead(queries, keys, start, window):
    """A query sees one token of the future: compare positions, not counts."""
    return _mask(start + np.arange(queries)[:, None], keys, window, behind=1)


def hidden_instead_of_visible(queries, keys, start, window):
    """True and False are exchanged: True says that a key is seen."""
    return ~_mask(start + np.arange(queries)[:, None], keys, window)


def window_one_too_long(queries, keys, start, window):
    """The window counts the query itself: with window 1 it sees only itself."""
    return _mask(start + np.arange(queries)[:, None], keys, None if window is None else window + 1)


def window_ignored(queries, keys, start, window):
    """The window is not applied: keys further back than `window` are hidden too."""
    return _mask(start + np.arange(queries)[:, None], keys, None)
