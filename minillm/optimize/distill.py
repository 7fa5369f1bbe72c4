"""Distillation: a small student learns a large teacher's whole distribution of the next token, not only the text.

The text names one next token; the teacher says how likely every token is, which is more to learn from each position.
A drafter for speculative decoding is accepted as often as its distribution agrees with the target's, so it is trained
on exactly that agreement. Sources: Hinton et al., 1503.02531; Zhou et al., DistillSpec, 2310.08461.
"""

import numpy as np

from minillm.arrays import Array
from minillm.training.losses import log_softmax_, soft_cross_entropy
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
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature is {temperature!r}; expected a number above 0")

    def loss(logits: Array, inputs: Array, targets: Array, count: int) -> tuple[float, Array]:
        batch, time = inputs.shape
        teacher_logits, _ = Network(teacher, batch, time).forward(inputs)  # [tokens, vocab]
        teacher_logits *= teacher_logits.dtype.type(1 / temperature)
        wanted = np.exp(log_softmax_(teacher_logits), out=teacher_logits)
        return soft_cross_entropy(logits, wanted, targets.ravel(), count)

    return loss
