"""AdamW with warm-up, a cosine schedule and gradient clipping. It turns gradients into better weights.

Sources: Kingma and Ba, Adam, 1412.6980, algorithm 1; Loshchilov and Hutter, Decoupled Weight Decay Regularization,
1711.05101, algorithm 2, and SGDR, 1608.03983 (cosine); Pascanu et al., 1211.5063 (clipping by the norm).
"""

import math
from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Float


@dataclass(frozen=True)
class Schedule:
    """The recipe of one training run.

    Attributes:
        steps: the number of steps.
        learning_rate: the peak of the learning rate, reached after the warm-up.
        warmup_steps: steps over which the rate rises from 0.
        last_rate: the fraction of the peak at which the cosine ends.
        weight_decay: in each step, matrices shrink towards 0 by this fraction times the learning rate.
        beta1, beta2: how slowly the running means of the gradient and of its square change.
        clip: the greatest norm of a gradient; a longer gradient is scaled down to it.
    """

    steps: int
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    last_rate: float = 0.0
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1: a linear rise, then half a cosine."""
        if step <= self.warmup_steps:
            return self.learning_rate * step / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        fraction = self.last_rate + (1 - self.last_rate) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return self.learning_rate * fraction


class AdamW:
    """The optimizer's state: running means of every parameter's gradient and of its square.

    `decayed` is 1 for parameters with weight decay, else 0.
    """

    def __init__(self, schedule: Schedule, decayed: Float[Array, "parameters"]) -> None:
        self.schedule, self.decayed, self.step = schedule, decayed, 0
        self.mean = np.zeros_like(decayed)
        self.square = np.zeros_like(decayed)

    def update(self, weights: Float[Array, "parameters"], gradient: Float[Array, "parameters"]) -> float:
        """Take one step: update the weights in place. Return the norm of the gradient before clipping."""
        recipe, real = self.schedule, weights.dtype.type
        self.step += 1
        norm = math.sqrt(float(np.vdot(gradient, gradient)))
        gradient *= real(min(1.0, recipe.clip / (norm + 1e-12)))
        self.mean *= real(recipe.beta1)
        self.mean += real(1 - recipe.beta1) * gradient
        self.square *= real(recipe.beta2)
        np.multiply(gradient, gradient, out=gradient)
        gradient *= real(1 - recipe.beta2)
        self.square += gradient
        # The means start at 0, so the first ones are too small by a known factor. They are divided by it.
        rate, unbiased = recipe.rate(self.step), 1 - recipe.beta2**self.step
        scale = np.sqrt(self.square * real(1 / unbiased))
        scale += real(1e-8)
        weights *= 1 - real(rate * recipe.weight_decay) * self.decayed
        np.divide(self.mean, scale, out=scale)
        scale *= real(rate / (1 - recipe.beta1**self.step))
        weights -= scale
        return norm
