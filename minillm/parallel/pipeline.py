"""Pipeline parallelism: each rank holds a run of layers, a *stage*, and sends the residual stream on to the next rank.

The rows of a forward pass are cut into micro-batches, so that several stages compute at a time. With 3 stages and 4
micro-batches, time goes to the right, and a dot is a slot in which the stage idles:

    stage 0    0  1  2  3  .  .        embedding, layers 0 to 9
    stage 1    .  0  1  2  3  .        layers 10 to 19
    stage 2    .  .  0  1  2  3        layers 20 to 29, final norm, head: its logits go to rank 0
               `--- 6 slots --'        of 18 slots 6 idle: (p - 1) / (m + p - 1), the *bubble*

A micro-batch has some of the sequences, or a chunk of a long one. Chunk 1 may enter stage 0 while chunk 0 is in stage
1: its queries attend over the keys of chunk 0, which stage 0 has written in its own layers. A pass that asks for no
logits waits for nobody, so the chunks of `prefill(chunk=...)` follow each other in the same way.

Each row is computed by the same code as on one rank. On the exact backend the logits are the same to the bit; on the
others too, if the rows are cut into the same passes. Source: Huang et al., GPipe, 1811.06965, section 2.
"""

from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from minillm.arrays import Array, Float
from minillm.backends.plain import Plain
from minillm.config import ModelConfig
from minillm.estimate.sharding import span_of
from minillm.loading.model_part import ModelPart
from minillm.model import Model
from minillm.parallel.messages import Messages
from minillm.parallel.plan import Leader
from minillm.ragged_batch import RaggedBatch
from minillm.support.checks import check_integer
from minillm.support.wording import counted
from minillm.transformer import embed, head, run_layers

RECORDED = 10_000  # micro-batches
MICRO_BATCHES_PER_STAGE = 4  # at most: with m = 4p the bubble is below 1/5


class Stage:
    """The part of the pipeline that this rank computes.

    Attributes:
        ranks: the processes, one for each stage.
        layers: the numbers of its layers.
        micro_batches: the most micro-batches of one pass; None takes the number that the backend's costs suggest.
        done: the micro-batches that this stage has computed, in order: the number of the pass, that of the
            micro-batch in the pass; the last 10,000. `bubble` counts the idle slots from the records of all stages.
    """

    def __init__(self, ranks: Messages, layers: int, micro_batches: int | None = None) -> None:
        """Choose the layers of this rank.

        Args:
            ranks: as above.
            layers: the number of layers of the whole model.
            micro_batches: as above.

        Raises:
            ValueError: there are more ranks than layers, or micro_batches is not an integer of at least 1.
        """
        if ranks.size > layers:
            stages = counted(ranks.size, "stage")
            raise ValueError(f"a pipeline of {stages}, but the model has {counted(layers, 'layer')}; start fewer ranks")
        self.ranks = ranks
        self.layers = span_of(layers, ranks.size, ranks.rank)
        self.micro_batches = None if micro_batches is None else check_integer("micro_batches", micro_batches, 1)
        self.done = deque[tuple[int, int]](maxlen=RECORDED)
        self._passes = 0

    @property
    def part(self) -> ModelPart:
        """What this rank loads."""
        return ModelPart(self.layers, self.is_first, self.is_last)

    @property
    def is_first(self) -> bool:
        """Whether this stage has the embedding."""
        return self.ranks.rank == 0

    @property
    def is_last(self) -> bool:
        """Whether this stage has the final norm and the head."""
        return self.ranks.rank == self.ranks.size - 1

    def run(self, model: Model, batch: RaggedBatch) -> Float[Array, "rows vocab"]:
        """Run the pass that all ranks run. On rank 0 return its logits; on the other ranks zeros in their place."""
        cut = cut_rows(batch, self._count(model, len(batch.tokens)))
        logits = [self._run_one(model, number, micro_batch) for number, micro_batch in enumerate(cut)]
        self._passes += 1
        return self._to_rank_0(model, len(batch.logit_indices), [rows for rows in logits if rows is not None])

    def _run_one(self, model: Model, number: int, batch: RaggedBatch) -> Array | None:
        """Take a micro-batch from the stage before, and give it to the stage after; the last one returns logits."""
        ranks, shape = self.ranks, (len(batch.tokens), model.config.hidden_size)
        if self.is_first:
            x = embed(model, batch)
        else:
            x = model.ops.array(ranks.receive(ranks.rank - 1, shape, model.dtype))
        x = run_layers(model, x, batch, 0, model.config.num_hidden_layers)
        self.done.append((self._passes, number))
        if self.is_last:
            return head(model, x[batch.logit_indices])
        ranks.send(np.asarray(model.ops.to_host(x), model.dtype), ranks.rank + 1)
        return None

    def _to_rank_0(self, model: Model, rows: int, logits: list[Array]) -> Array:
        """Send the logits from the last rank to rank 0, after all micro-batches: rank 0 is sending until then."""
        shape = (rows, model.config.vocab_size)
        if self.is_last and rows and not self.is_first:
            self.ranks.send(np.concatenate([np.asarray(model.ops.to_host(part), model.dtype) for part in logits]), 0)
        if not self.is_first or not rows:
            return model.ops.zeros(shape, model.dtype)
        if self.is_last:
            return np.concatenate(logits)
        return model.ops.array(self.ranks.receive(self.ranks.size - 1, shape, model.dtype))

    def _count(self, model: Model, rows: int) -> int:
        """Return the number of micro-batches for this number of rows.

        More of them make the bubble smaller, but a stage reads its weights once for each. A slot takes the time of its
        rows, and a pass takes m + p - 1 slots.
        """
        if self.micro_batches is not None:
            return min(self.micro_batches, rows)
        stages = self.ranks.size

        def cost(count: int) -> float:
            return (count + stages - 1) * model.ops.cost_of_rows(-(-rows // count), model.weights)

        return min(range(1, min(rows, MICRO_BATCHES_PER_STAGE * stages) + 1), key=cost)


def cut_rows(batch: RaggedBatch, count: int) -> list[RaggedBatch]:
    """Cut the rows of a batch into `count` micro-batches of about equal size. A sequence may be cut into chunks.

    rows         0  1  2  3  4  5  6  7       sequence A: rows 0 to 4, sequence B: rows 5 to 7
    2 of them    A  A  A  A | A  B  B  B      the second begins with a chunk of A, which follows 4 more tokens
    """
    cuts = [len(batch.tokens) * number // count for number in range(count + 1)]
    return [_rows_of(batch, first, end) for first, end in pairwise(cuts)]


def _rows_of(batch: RaggedBatch, first: int, end: int) -> RaggedBatch:
    """Return rows `first` to `end - 1` as a batch. The caches of its chunks have the tokens of earlier chunks."""
    spans, caches = [], []
    for span, cache in zip(batch.spans, batch.caches, strict=True):
        start, stop = max(span.start, first), min(span.stop, end)
        if start < stop:
            spans.append(slice(start - first, stop - first))
            chunk = copy(cache)  # with the same keys and values
            chunk.length = cache.length + start - span.start
            caches.append(chunk)
    logit_indices = batch.logit_indices[(batch.logit_indices >= first) & (batch.logit_indices < end)] - first
    return RaggedBatch(batch.tokens[first:end], batch.positions[first:end], logit_indices, spans, caches)


def bubble(done: Sequence[Sequence[tuple[int, int]]]) -> float:
    """Return the fraction of slots in which stages idled, from the records of all stages.

    A slot is the time of one micro-batch in one stage. A micro-batch begins when its stage is free and the stage before
    has finished it.
    """
    ended: dict[tuple[int, int], int] = {}  # for each micro-batch, the slots until the stage before has finished it
    last = 0
    for record in done:
        free = 0
        for micro_batch in record:
            free = max(free, ended.get(micro_batch, 0)) + 1
            ended[micro_batch] = free
        last = max(last, free)
    return 1 - sum(map(len, done)) / (len(done) * last)


class OnStage(Plain):
    """A backend whose passes go through the pipeline. `on_stage` puts it before the class of a backend.

    Attributes:
        stage: this rank's part.
        config: of the whole model.
        leader: on rank 0, what sends each pass to the other ranks; None on the others, and where all ranks call
            `forward_batch` alike.
    """

    stage: Stage
    config: ModelConfig
    leader: Leader | None
    skips_layers = False

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """Run the stage: the embedding or what the stage before sends, and then this rank's layers."""
        if self.leader is None:
            return self.stage.run(model, batch)
        with self.leader.sends_pass(model, batch):
            return self.stage.run(model, batch)

    def whole(self, config: ModelConfig) -> ModelConfig:
        """Return the config of the whole model."""
        return self.config

    def tell(self, memory: Any, operation: str, *arguments: Any) -> None:
        """Send an operation on a cache's memory to the other ranks."""
        if self.leader is not None:
            self.leader.send_operation(memory, operation, *arguments)


def on_stage(model: Model, stage: Stage) -> Model:
    """Return the model with this stage's layers of the config, on a backend whose passes go through the pipeline."""
    ops: Any = copy(model.ops)
    ops.__class__ = type(f"{type(ops).__name__}OnStage", (OnStage, type(ops)), {})
    ops.stage, ops.config, ops.leader = stage, model.config, None
    windows = model.config.sliding_windows[stage.layers.start : stage.layers.stop]
    config = replace(model.config, num_hidden_layers=len(stage.layers), sliding_windows=windows)
    return replace(model, config=config, ops=ops)
