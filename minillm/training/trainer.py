"""Trainer: steps over batches, data-parallel over threads, with checkpoints that resume to the same bits.

Each thread runs forward and backward over its share of a batch with matrix products of one thread (NumPy releases
Python's lock inside them), and the gradients are added in a fixed order: on one machine the outcome does not depend on
timing, nor on how often the run was stopped. Data parallelism: Li et al., PyTorch Distributed, 2006.15704, section 2.
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
from minillm.training.batches import split_row
from minillm.training.losses import IGNORED, cross_entropy
from minillm.training.network import Network
from minillm.training.optimizer import AdamW, Schedule
from minillm.training.parameters import ParameterVector

# From logits [tokens, vocab], inputs and targets [batch, time], and the number of targets in the whole batch, of which
# these may be a share, to the loss and its gradient with respect to the logits.
Loss = Callable[[Array, Array, Array, int], tuple[float, Array]]


@dataclass(frozen=True)
class StepReport:
    """One step: the mean loss in nats a token, the gradient's length before clipping, how many tokens were inputs."""

    step: int
    loss: float
    gradient_norm: float
    tokens: int


def next_token_loss(logits: Array, inputs: Array, targets: Array, count: int) -> tuple[float, Array]:
    """Cross-entropy with the text itself."""
    return cross_entropy(logits, targets.ravel(), count)


class Trainer:
    """One training run.

    Attributes:
        parameters: what is trained, in place.
        losses: of every step so far.
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
        """Nothing trained yet.

        Args:
            parameters: where to start.
            schedule: the recipe; its `steps` fixes how many rows are read.
            rows: the data, see `batches.pack`; step s reads `batch` of them, and starts over at their end.
            batch: rows a step, a multiple of `threads`.
            loss: what is minimised.
            threads: shares of a batch that run side by side.
            recipe: whatever else tells this run from others, such as what the loss is made of.

        Raises:
            ValueError: a batch that cannot be shared out, or too few rows for one.
        """
        if batch % threads or len(rows) < batch:
            raise ValueError(f"batch is {batch}; expected a multiple of {threads} and at most the {len(rows)} rows")
        self.parameters, self.schedule, self.rows, self.batch, self.loss = parameters, schedule, rows, batch, loss
        self.optimizer = AdamW(schedule, parameters.matrices())
        self.losses: list[float] = []
        self._recipe, self._start = recipe, hashlib.sha256(parameters.vector.tobytes()).hexdigest()
        self._network = Network(parameters, batch // threads, rows.shape[1] - 1)
        self._gradients = [parameters.like() for _ in range(threads)]
        self._threads = ThreadPoolExecutor(threads)

    @property
    def step_number(self) -> int:
        """Steps taken."""
        return self.optimizer.step

    def step(self) -> StepReport:
        """Read one batch and improve the weights."""
        first = self.step_number * self.batch
        rows = self.rows[np.arange(first, first + self.batch) % len(self.rows)]  # [batch, time + 1]
        count = int((rows[:, 1:] != IGNORED).sum())
        shares = np.split(rows, len(self._gradients))
        losses = list(self._threads.map(self._share, shares, self._gradients, [count] * len(shares)))
        total = self._gradients[0].vector
        for other in self._gradients[1:]:
            total += other.vector
        norm = self.optimizer.update(self.parameters.vector, total)
        self.losses.append(sum(losses))
        return StepReport(self.step_number, self.losses[-1], norm, rows.shape[0] * (rows.shape[1] - 1))

    def _share(self, rows: Array, gradients: ParameterVector, count: int) -> float:
        inputs, targets = split_row(rows)
        logits, saved = self._network.forward(inputs)
        loss, d_logits = self.loss(logits, inputs, targets, count)
        self._network.backward(d_logits, saved, gradients)
        return loss

    def save(self, path: Path) -> None:
        """Write everything that the next steps depend on, atomically."""
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
        """Go on from a saved state.

        Raises:
            ValueError: it is damaged, or of another run: another recipe, model, start or data.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                state = {name: arrays[name] for name in ("run", "vector", "mean", "square", "losses")}
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
            raise ValueError(f"{path}: damaged; remove it to start anew") from None
        if str(state["run"]) != self._identity():
            raise ValueError(f"{path}: is of a run with another recipe, model or data; remove it to start anew")
        self.parameters.vector[...] = state["vector"]
        self.optimizer.mean[...], self.optimizer.square[...] = state["mean"], state["square"]
        self.losses = state["losses"].tolist()
        self.optimizer.step = len(self.losses)

    def _identity(self) -> str:
        data = hashlib.sha256(self.rows.tobytes()).hexdigest()
        recipe = repr((self._recipe, self.schedule, self.batch, self.parameters.config, self._start, data))
        return hashlib.sha256(recipe.encode()).hexdigest()
