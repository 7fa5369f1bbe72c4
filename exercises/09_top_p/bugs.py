"""Wrong answers to `top_p`."""

import numpy as np


def _filtered(probs, kept):
    filtered = np.zeros_like(probs)
    filtered[kept] = probs[kept] / probs[kept].sum()
    return filtered


def crossing_token_dropped(probs, p):
    """The token that crosses p was dropped: it is needed to reach p, so it is kept."""
    ranked = np.argsort(-probs, kind="stable")
    keep = np.cumsum(probs[ranked]) < p
    keep[0] = True
    return _filtered(probs, ranked[keep])


def one_token_too_many(probs, p):
    """A token too many is kept where the mass before it is p exactly: keep those with less than p before them."""
    ranked = np.argsort(-probs, kind="stable")
    return _filtered(probs, ranked[np.cumsum(probs[ranked]) - probs[ranked] <= p])


def not_scaled(probs, p):
    """What is kept does not sum to 1: divide it by its sum."""
    ranked = np.argsort(-probs, kind="stable")
    kept = ranked[np.cumsum(probs[ranked]) - probs[ranked] < p]
    filtered = np.zeros_like(probs)
    filtered[kept] = probs[kept]
    return filtered


def not_sorted(probs, p):
    """Tokens were added up in the order of their ids: begin with the most probable."""
    return _filtered(probs, np.flatnonzero(np.cumsum(probs) - probs < p))


def least_probable_kept(probs, p):
    """The least probable tokens were kept: sort from the most probable down."""
    ranked = np.argsort(probs, kind="stable")
    return _filtered(probs, ranked[np.cumsum(probs[ranked]) - probs[ranked] < p])


def left_in_sorted_order(probs, p):
    """The probabilities are in sorted order: each belongs back at the id of its token."""
    ranked = np.argsort(-probs, kind="stable")
    in_order = probs[ranked]
    return _filtered(in_order, np.flatnonzero(np.cumsum(in_order) - in_order < p))


def probable_enough_alone(probs, p):
    """Each token was compared with p by itself: it is the mass of those before it that counts."""
    return _filtered(probs, np.flatnonzero(probs >= min(p, probs.max())))
