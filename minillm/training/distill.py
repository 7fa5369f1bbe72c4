"""Distillation: a small student learns a large teacher's whole distribution of the next token, not only the text.

The text names one next token; the teacher says how likely every token is, which is more to learn from each position.
A drafter for speculative decoding is accepted as often as its distribution agrees with the target's, so it is trained
on exactly that agreement. Sources: Hinton et al., 1503.02531; Zhou et al., DistillSpec, 2310.08461.

A teacher that costs more than the student is asked once, not in every pass over the rows: what it finds likely is kept,
the rest of a large vocabulary has next to no probability.
"""

from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.training.losses import log_softmax_, soft_cross_entropy, sparse_cross_entropy
from minillm.training.network import Network
from minillm.training.parameters import ParameterVector
from minillm.training.trainer import Loss


def distillation_loss(teacher: ParameterVector, temperature: float = 1.0) -> Loss:
    """A loss for `Trainer`: cross-entropy with the teacher's distribution.

    Args:
        teacher: the large model; it reads the same tokens and is not changed.
        temperature: of the teacher's distribution. Below 1 its favourites count more, which is what a drafter for
            greedy decoding has to know.

    Raises:
        ValueError: the temperature is not a number above 0.
    """
    _check_temperature(temperature)

    def loss(logits: Array, inputs: Array, targets: Array, count: int) -> tuple[float, Array]:
        batch, time = inputs.shape
        teacher_logits, _ = Network(teacher, batch, time).forward(inputs)  # [tokens, vocab]
        teacher_logits *= teacher_logits.dtype.type(1 / temperature)
        wanted = np.exp(log_softmax_(teacher_logits), out=teacher_logits)
        return soft_cross_entropy(logits, wanted, targets.ravel(), count)

    return loss


@dataclass(frozen=True)
class Favourites:
    """The most probable tokens after each token of some rows, in any order, and their logits (or log-probabilities)."""

    tokens: Int[Array, "rows time kept"]
    logits: Float[Array, "rows time kept"]


def favourites_loss(inputs: Int[Array, "rows time"], teacher: Favourites, temperature: float = 1.0) -> Loss:
    """`distillation_loss` with a teacher that was asked before.

    Args:
        inputs: the rows that it was asked about; `Trainer` may show them in any order.
        teacher: what it said of them, `[rows, time, kept]`.
        temperature: of the teacher's distribution.

    Raises:
        ValueError: the temperature is not a number above 0.
    """
    _check_temperature(temperature)
    places = {row.tobytes(): place for place, row in enumerate(inputs)}

    def loss(logits: Array, inputs: Array, targets: Array, count: int) -> tuple[float, Array]:
        rows = [places[row.tobytes()] for row in inputs]
        likely, wanted = (of[rows].reshape(len(logits), -1) for of in (teacher.tokens, teacher.logits))
        wanted = np.exp(log_softmax_(wanted * wanted.dtype.type(1 / temperature)))
        return sparse_cross_entropy(logits, likely, wanted, targets.ravel(), count)

    return loss


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature is {temperature!r}; expected a number above 0")


def projected_embedding(embedding: Float[Array, "vocab dim"], dim: int) -> Float[Array, "vocab {dim}"]:
    """A teacher's embedding along the `dim` directions in which its rows differ most, for a student to begin with.

    So tokens that are alike begin alike, those too that the student hardly ever sees. As large as `initialise` has it.
    """
    centred = embedding - embedding.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)  # columns, the least important first
    rows = centred @ directions[:, -dim:]
    return rows * (0.02 / rows.std())
