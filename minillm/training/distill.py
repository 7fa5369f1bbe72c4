"""Distillation: a small student learns a large teacher's whole distribution of the next token, not only the text.

The text contains one next token. The teacher gives a probability to every token, so there is more to learn from each
position. A draft token of speculative decoding is accepted as often as the draft model's distribution agrees with the
target model's, and distillation trains exactly that agreement. Sources: Hinton et al., 1503.02531; Zhou et al.,
DistillSpec, 2310.08461.

A teacher that costs more than the student is evaluated once, not in every pass over the rows. Only the tokens that it
finds most probable are stored: the other tokens of a large vocabulary have almost no probability.
"""

from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.training.losses import log_softmax_, soft_cross_entropy, sparse_cross_entropy
from minillm.training.network import Network
from minillm.training.parameters import ParameterVector
from minillm.training.trainer import Loss


def distillation_loss(teacher: ParameterVector, temperature: float = 1.0) -> Loss:
    """Return a loss for `Trainer`: cross-entropy with the teacher's distribution.

    Args:
        teacher: the large model; it reads the same tokens and is not changed.
        temperature: of the teacher's distribution. Below 1 its most probable tokens count more, and these are the ones
            that a draft model for greedy decoding has to predict.

    Raises:
        ValueError: the temperature is not a number above 0.
    """
    _check_temperature(temperature)

    def loss(logits: Array, inputs: Array, targets: Array, count: int) -> tuple[float, Array]:
        batch, time = inputs.shape
        teacher_logits, _ = Network(teacher, batch, time).forward(inputs)  # [tokens, vocab]
        teacher_logits *= teacher_logits.dtype.type(1 / temperature)
        target_probs = np.exp(log_softmax_(teacher_logits), out=teacher_logits)
        return soft_cross_entropy(logits, target_probs, targets.ravel(), count)

    return loss


@dataclass(frozen=True)
class Favourites:
    """The most probable next tokens at each position of some rows, in any order, with logits or log-probabilities."""

    tokens: Int[Array, "rows time kept"]
    logits: Float[Array, "rows time kept"]


def favourites_loss(inputs: Int[Array, "rows time"], teacher: Favourites, temperature: float = 1.0) -> Loss:
    """Return `distillation_loss` with a teacher that was evaluated before.

    Args:
        inputs: the rows on which it was evaluated; `Trainer` may read them in any order.
        teacher: the results, `[rows, time, kept]`.
        temperature: of the teacher's distribution.

    Raises:
        ValueError: the temperature is not a number above 0.
    """
    _check_temperature(temperature)
    row_index = {row.tobytes(): index for index, row in enumerate(inputs)}

    def loss(logits: Array, inputs: Array, targets: Array, count: int) -> tuple[float, Array]:
        rows = [row_index[row.tobytes()] for row in inputs]
        likely, likely_logits = (of[rows].reshape(len(logits), -1) for of in (teacher.tokens, teacher.logits))
        target_probs = np.exp(log_softmax_(likely_logits * likely_logits.dtype.type(1 / temperature)))
        return sparse_cross_entropy(logits, likely, target_probs, targets.ravel(), count)

    return loss


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature is {temperature!r}; expected a number above 0")


def projected_embedding(embedding: Float[Array, "vocab dim"], dim: int) -> Float[Array, "vocab {dim}"]:
    """Project a teacher's embedding on the `dim` directions in which its rows differ most, as a student's initial one.

    So similar tokens begin with similar rows, even tokens that the student rarely sees in training. The rows are scaled
    to the standard deviation that `initialise` uses.
    """
    centred = embedding - embedding.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)  # columns, in ascending order of variance
    rows = centred @ directions[:, -dim:]
    return rows * (0.02 / rows.std())
