"""Losses: how improbable the model finds the next token, and the gradient of that with respect to its logits."""

import numpy as np

from minillm.arrays import Array, Float, Int

IGNORED = -1  # the target of padding, which does not count in any loss


def log_softmax_(logits: Float[Array, "tokens vocab"]) -> Float[Array, "tokens vocab"]:
    """Replace each row of logits by its log softmax. In place, because the logits are the largest array of a batch."""
    logits -= logits.max(axis=-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return logits


def cross_entropy(
    logits: Float[Array, "tokens vocab"], targets: Int[Array, "tokens"], count: int
) -> tuple[float, Float[Array, "tokens vocab"]]:
    """Return the sum of -log p(target) over the rows, divided by `count`, and its gradient. Overwrites the logits.

    The gradient is (softmax(logits) - one_hot(target)) / count. `count` is the number of targets in the whole batch,
    and these rows may be some of its rows.
    """
    log_probs = log_softmax_(logits)
    rows = np.flatnonzero(targets != IGNORED)
    loss = -float(log_probs[rows, targets[rows]].sum(dtype=np.float64)) / count
    d_logits = np.exp(log_probs, out=log_probs)
    d_logits[rows, targets[rows]] -= 1
    d_logits[targets == IGNORED] = 0
    d_logits /= logits.dtype.type(count)
    return loss, d_logits


def soft_cross_entropy(
    logits: Float[Array, "tokens vocab"],
    target_probs: Float[Array, "tokens vocab"],
    targets: Int[Array, "tokens"],
    count: int,
) -> tuple[float, Float[Array, "tokens vocab"]]:
    """Return the cross-entropy with a distribution as the target: -sum over the vocabulary of p_target * log p.

    `targets` only marks the rows that are padding. The gradient is (softmax(logits) - target_probs) / count. Overwrites
    the logits.
    """
    log_probs = log_softmax_(logits)
    taught = targets != IGNORED
    loss = -float(np.vecdot(target_probs, log_probs)[taught].sum(dtype=np.float64)) / count
    d_logits = np.exp(log_probs, out=log_probs)
    d_logits -= target_probs
    d_logits[~taught] = 0
    d_logits /= logits.dtype.type(count)
    return loss, d_logits


def sparse_cross_entropy(
    logits: Float[Array, "tokens vocab"],
    likely: Int[Array, "tokens kept"],
    target_probs: Float[Array, "tokens kept"],
    targets: Int[Array, "tokens"],
    count: int,
) -> tuple[float, Float[Array, "tokens vocab"]]:
    """Return `soft_cross_entropy` for a distribution with probability on the tokens `likely` alone, all different."""
    log_probs = log_softmax_(logits)
    taught = targets != IGNORED
    losses = -np.vecdot(target_probs, np.take_along_axis(log_probs, likely, axis=1))  # [tokens]
    loss = float(losses[taught].sum(dtype=np.float64)) / count
    d_logits = np.exp(log_probs, out=log_probs)
    d_logits[np.arange(len(likely))[:, None], likely] -= target_probs
    d_logits[~taught] = 0
    d_logits /= logits.dtype.type(count)
    return loss, d_logits
