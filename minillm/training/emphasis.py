"""Emphasis: a second loss that asks nothing but which of a few words comes, where the text before has said which.

A story names its hero once and then copies the name ten times. For cross-entropy over the whole vocabulary a name is
one token of fifty, and most of its surprise is whether a name comes at all; which one, a small model learns last. The
second loss looks at nothing else: a softmax over the names alone, in the places where the text has a name that stood
in it before. Inside a network, such copying is what induction heads do (Olsson et al., 2209.11895).
"""

from collections.abc import Sequence

import numpy as np

from minillm.arrays import Array, Bool, Int
from minillm.training.losses import cross_entropy
from minillm.training.trainer import Loss, next_token_loss


def emphasised_loss(groups: Sequence[Int[Array, "words forms"]], weight: float, end_of_text: int) -> Loss:
    """A loss for `Trainer`: the next token's cross-entropy, and `weight` times the choice within each group.

    What is reported is the cross-entropy alone, so that runs with and without emphasis can be compared.

    Args:
        groups: words among which a text chooses, each with the tokens that write it: with and without a space, say.
        weight: 0 is the plain loss.
        end_of_text: the token between the texts of a row; what stood before it does not count.
    """

    def loss(logits: Array, inputs: Array, targets: Array, count: int) -> tuple[float, Array]:
        choices = []
        for group in groups:
            rows = np.flatnonzero(repeats(inputs, targets, group, end_of_text))
            choices += [choice_gradient(logits, rows, targets.ravel(), form, count) for form in group.T]
        plain, d_logits = next_token_loss(logits, inputs, targets, count)  # overwrites the logits
        for part, gradient in choices:
            d_logits[part] += d_logits.dtype.type(weight) * gradient
        return plain, d_logits

    return loss


def choice_gradient(
    logits: Array, rows: Int[Array, "rows"], targets: Int[Array, "tokens"], words: Int[Array, "words"], count: int
) -> tuple[tuple[Array, ...], Array]:
    """Of -sum(log p(target among the words)) / count: the part of the logits that it depends on, its gradient there.

    Only those of the rows matter whose target is one of the words.
    """
    rows = rows[np.isin(targets[rows], words)]
    part = np.ix_(rows, words)
    places = (targets[rows, None] == words).argmax(axis=1)  # of the targets among the words
    return part, cross_entropy(logits[part], places, count)[1]


def repeats(
    inputs: Int[Array, "batch time"], targets: Int[Array, "batch time"], group: Int[Array, "words forms"], end: int
) -> Bool[Array, "batch time"]:
    """Which targets write a word of the group that stands, in any form, in the same text before."""
    began = last_place(inputs == end)
    found = np.zeros(targets.shape, bool)
    for word in group:
        found |= np.isin(targets, word) & (last_place(np.isin(inputs, word)) > began)
    return found


def last_place(at: Bool[Array, "batch time"]) -> Int[Array, "batch time"]:
    """The nearest place up to here where `at` is true; -1 where there is none."""
    return np.maximum.accumulate(np.where(at, np.arange(at.shape[1]), -1), axis=1)
