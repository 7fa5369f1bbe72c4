"""Trainer: train batch by batch, data-parallel over threads, with checkpoints that resume to the same bits.

Each thread runs the forward and backward pass over its own rows of the batch, with single-threaded matrix products.
NumPy releases Python's global lock inside them. The gradients are added in a fixed order. So on one machine the result
does not depend on timing, or on how often the run was stopped. Data parallelism: Li et al., PyTorch Distributed,
2006.15704, section 2.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minillm.arrays import Array, Int
from minillm.support.wording import counted
from minillm.training.batches import split_row
from minillm.training.losses import IGNORED, cross_entropy
from minillm.training.network import Network
from minillm.training.optimizer import AdamW, Schedule
from minillm.training.parameters import ParameterVector

# Arguments: logits [tokens, vocab], inputs and targets [batch, time], and the number of targets in the whole batch: the
# arrays may hold one thread's rows of it. Returns the loss and its gradient with respect to the logits.
Loss = Callable[[Array, Array, Array, int], tuple[float, Array]]


@dataclass(frozen=True)
class StepReport:
    """One step.

    Attributes:
        step: its number, from 1.
        loss: the mean loss, in nats per token.
        gradient_norm: the norm of the gradient before clipping.
        tokens: the number of input tokens.
    """

    step: int
    loss: float
    gradient_norm: float
    tokens: int


def next_token_loss(logits: Array, inputs: Array, targets: Array, count: int) -> tuple[float, Array]:
    """Return the cross-entropy with the next tokens of the text."""
    return cross_entropy(logits, targets.ravel(), count)


class Trainer:
    """One training run.

    Attributes:
        parameters: the parameters, which are trained in place.
        losses: the loss of every step so far.
    """

    def __init__(
        self,
        parameters: ParameterVector,
        schedule: Schedule,
        rows: Int[Array, "rows length"],
        batch: int,
        loss: Loss = next_token_loss,
        threads: int = 2,
        recipe: str = "",
    ) -> None:
        """Prepare a run, before its first step.

        Args:
            parameters: the initial parameters.
            schedule: the recipe; the number of rows read is its `steps` times `batch`.
            rows: the data, see `batches.pack`; each step reads the next `batch` rows, and after the last the first.
            batch: rows per step, a multiple of `threads`.
            loss: the loss that is minimised.
            threads: threads that compute in parallel, each on batch / threads rows.
            recipe: a text that distinguishes this run from others, such as a description of the loss.

        Raises:
            ValueError: the threads cannot get equal numbers of rows, or there are too few rows for a batch.
        """
        if batch % threads or len(rows) < batch:
            expected = f"a multiple of {counted(threads, 'thread')}, at most {counted(len(rows), 'row')}"
            raise ValueError(f"batch is {batch}; expected {expected}")
        self.parameters, self.schedule, self.rows, self.batch, self.loss = parameters, schedule, rows, batch, loss
        self.optimizer = AdamW(schedule, parameters.matrices())
        self.losses: list[float] = []
        self._recipe, self._start = recipe, hashlib.sha256(parameters.vector.tobytes()).hexdigest()
        self._network = Network(parameters, batch // threads, rows.shape[1] - 1)
        self._gradients = [parameters.like() for _ in range(threads)]
        self._threads = ThreadPoolExecutor(threads)

    @property
    def step_number(self) -> int:
        """Return the number of steps taken."""
        return self.optimizer.step

    def step(self) -> StepReport:
        """Read one batch and update the weights."""
        first = self.step_number * self.batch
        rows = self.rows[np.arange(first, first + self.batch) % len(self.rows)]  # [batch, time + 1]
        count = int((rows[:, 1:] != IGNORED).sum())
        by_thread = np.split(rows, len(self._gradients))
        losses = list(self._threads.map(self._forward_backward, by_thread, self._gradients, [count] * len(by_thread)))
        total = self._gradients[0].vector
        for other in self._gradients[1:]:
            total += other.vector
        norm = self.optimizer.update(self.parameters.vector, total)
        self.losses.append(sum(losses))
        return StepReport(self.step_number, self.losses[-1], norm, rows.shape[0] * (rows.shape[1] - 1))

    def _forward_backward(self, rows: Array, gradients: ParameterVector, count: int) -> float:
        """Fill the gradients from one thread's rows, and return what these rows add to the loss."""
        inputs, targets = split_row(rows)
        logits, saved = self._network.forward(inputs)
        loss, d_logits = self.loss(logits, inputs, targets, count)
        self._network.backward(d_logits, saved, gradients)
        return loss

    def save(self, path: Path) -> None:
        """Write all state on which the next steps depend, atomically."""
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(
                file,
                run=np.array(self._identity()),
                vector=self.parameters.vector,
                mean=self.optimizer.mean,
                square=self.optimizer.square,
                losses=np.array(self.losses),
            )
        os.replace(partial, path)

    def resume(self, path: Path) -> None:
        """Continue from a saved state.

        Raises:
            ValueError: the file is damaged, or belongs to a run with a different recipe, model, start or data.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                state = {name: arrays[name] for name in ("run", "vector", "mean", "square", "losses")}
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
            raise ValueError(f"{path}: damaged; remove it to start again") from None
        if str(state["run"]) != self._identity():
            raise ValueError(
                f"{path}: belongs to a run with a different recipe, model or data; remove it to start again"
            )
        self.parameters.vector[...] = state["vector"]
        self.optimizer.mean[...], self.optimizer.square[...] = state["mean"], state["square"]
        self.losses = state["losses"].tolist()
        self.optimizer.step = len(self.losses)

    def _identity(self) -> str:
        data = hashlib.sha256(self.rows.tobytes()).hexdigest()
        recipe = repr((self._recipe, self.schedule, self.batch, self.parameters.config, self._start, data))
        return hashlib.sha256(recipe.encode()).hexdigest()
