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


def distillation_loss(teacher: ParameterVector, text_share: float = 0.0) -> Loss:
    """A loss for `Trainer`: cross-entropy with the teacher's distribution, mixed with the text's own next token.

    Args:
        teacher: the large model; it reads the same tokens and is not changed.
        text_share: from 0 (only the teacher counts) to 1 (only the text).

    Raises:
        ValueError: text_share is outside 0 to 1.
    """
    if not 0 <= text_share <= 1:
        raise ValueError(f"text_share is {text_share!r}; expected a number from 0 to 1")

    def loss(logits: Array, inputs: Array, targets: Array, count: int) -> tuple[float, Array]:
        batch, time = inputs.shape
        teacher_logits, _ = Network(teacher, batch, time).forward(inputs)  # [tokens, vocab]
        wanted = np.exp(log_softmax_(teacher_logits), out=teacher_logits)
        wanted *= wanted.dtype.type(1 - text_share)
        wanted[np.arange(targets.size), targets.ravel()] += wanted.dtype.type(text_share)
        return soft_cross_entropy(logits, wanted, targets.ravel(), count)

    return loss
