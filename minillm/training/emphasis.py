"""Emphasis: a second loss for the choice among a few words, at positions where the text before determines the word.

A story introduces its hero's name once and then repeats it ten times. In the cross-entropy over the whole vocabulary a
name is one token of fifty. Most of its loss comes from whether a name follows at all; which name it is, a small model
learns last. The second loss is only about that: a softmax over the names alone, at the positions where the text has a
name that appeared before. Inside a network, induction heads do this copying (Olsson et al., 2209.11895).
"""

from collections.abc import Sequence

import numpy as np

from minillm.arrays import Array, Bool, Int
from minillm.training.losses import cross_entropy
from minillm.training.trainer import Loss, next_token_loss


def emphasised_loss(groups: Sequence[Int[Array, "words forms"]], weight: float, end_of_text: int) -> Loss:
    """Return a loss for `Trainer`: the next token's cross-entropy, plus `weight` times the loss within each group.

    The reported loss is the cross-entropy alone, so that runs with and without emphasis can be compared.

    Args:
        groups: words among which a text chooses, each with its token forms: with and without a space, for example.
        weight: 0 is the plain loss.
        end_of_text: the token between the texts of a row; words before it do not count.
    """

    def loss(logits: Array, inputs: Array, targets: Array, count: int) -> tuple[float, Array]:
        choices = []
        for group in groups:
            rows = np.flatnonzero(repeats(inputs, targets, group, end_of_text))
            choices += [choice_gradient(logits, rows, targets.ravel(), form, count) for form in group.T]
        plain, d_logits = next_token_loss(logits, inputs, targets, count)  # overwrites the logits
        for index, gradient in choices:
            d_logits[index] += d_logits.dtype.type(weight) * gradient
        return plain, d_logits

    return loss


def choice_gradient(
    logits: Array, rows: Int[Array, "rows"], targets: Int[Array, "tokens"], words: Int[Array, "words"], count: int
) -> tuple[tuple[Array, ...], Array]:
    """Return the gradient of -sum(log p(target among the words)) / count, and the index of its logits.

    The loss depends only on the logits of the words, in those rows whose target is one of the words.
    """
    rows = rows[np.isin(targets[rows], words)]
    index = np.ix_(rows, words)
    chosen = (targets[rows, None] == words).argmax(axis=1)  # the targets, as indices of `words`
    return index, cross_entropy(logits[index], chosen, count)[1]


def repeats(
    inputs: Int[Array, "batch time"], targets: Int[Array, "batch time"], group: Int[Array, "words forms"], end: int
) -> Bool[Array, "batch time"]:
    """Return which targets are a word of the group that appears, in any form, earlier in the same text."""
    began = last_position(inputs == end)
    found = np.zeros(targets.shape, bool)
    for word in group:
        found |= np.isin(targets, word) & (last_position(np.isin(inputs, word)) > began)
    return found


def last_position(at: Bool[Array, "batch time"]) -> Int[Array, "batch time"]:
    """Return for each position the last position up to it where `at` is true, or -1 if there is none."""
    return np.maximum.accumulate(np.where(at, np.arange(at.shape[1]), -1), axis=1)
