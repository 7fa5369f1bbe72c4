"""Wrong answers to `top_p`."""

import numpy as np


def _filtered(probs, kept):
    filtered = np.zeros_like(probs)
    filtered[kept] = probs[kept] / probs[kept].sum()
    return filtered


def crossing_token_dropped(probs, p):
    """The token that crosses p was dropped: it is needed to reach p, so keep it."""
    ranked = np.argsort(-probs, kind="stable")
    keep = np.cumsum(probs[ranked]) < p
    keep[0] = True
    return _filtered(probs, ranked[keep])


def nothing_kept_if_the_first_token_crosses(probs, p):
    """Nothing is kept if the most probable token alone reaches p: the token that crosses p has to stay."""
    ranked = np.argsort(-probs, kind="stable")
    return _filtered(probs, ranked[np.cumsum(probs[ranked]) <= p])


def one_token_too_many(probs, p):
    """One token too many is kept if the total before it is exactly p: keep those with less than p before them."""
    ranked = np.argsort(-probs, kind="stable")
    return _filtered(probs, ranked[np.cumsum(probs[ranked]) - probs[ranked] <= p])


def not_scaled(probs, p):
    """The kept probabilities do not sum to 1: divide them by their sum."""
    ranked = np.argsort(-probs, kind="stable")
    kept = ranked[np.cumsum(probs[ranked]) - probs[ranked] < p]
    filtered = np.zeros_like(probs)
    filtered[kept] = probs[kept]
    return filtered


def not_sorted(probs, p):
    """The probabilities were added up in the order of ids: begin with the most probable token."""
    return _filtered(probs, np.flatnonzero(np.cumsum(probs) - probs < p))


def least_probable_kept(probs, p):
    """The least probable tokens were kept: sort from the most probable down."""
    ranked = np.argsort(probs, kind="stable")
    return _filtered(probs, ranked[np.cumsum(probs[ranked]) - probs[ranked] < p])


def left_in_sorted_order(probs, p):
    """The probabilities are in sorted order: put each back at the id of its token."""
    ranked = np.argsort(-probs, kind="stable")
    in_order = probs[ranked]
    return _filtered(in_order, np.flatnonzero(np.cumsum(in_order) - in_order < p))


def probable_enough_alone(probs, p):
    """Each probability was compared with p: compare the total probability of the tokens before it."""
    return _filtered(probs, np.flatnonzero(probs >= min(p, probs.max())))


def higher_id_first(probs, p):
    """Of equally probable tokens the higher id was kept: reversing a sorted order also reverses the equal ones."""
    ranked = np.argsort(probs, kind="stable")[::-1]
    return _filtered(probs, ranked[np.cumsum(probs[ranked]) - probs[ranked] < p])
