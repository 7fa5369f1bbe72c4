"""OnRanks: any backend, computing one rank's share of a model.

`forward` is the same function as on one rank. The cut lies in the weights: the config of a rank's model is its share,
so attention and the MLP are smaller. These methods differ:

    embed         a rank has the rows of its tokens of the vocabulary, the others add zeros       1 all-reduce
    add_linear    after attention, and after the MLP: each rank has a part of the sum             2 all-reduces a layer
    logits        a rank has the logits of its tokens of the vocabulary                           1 all-gather

On the `exact` backend each row is put on a grid before it is multiplied, and the grid depends on the whole row. So the
ranks first agree on the largest square of the row (an all-reduce of maxima), then on the sum of squares (an all-reduce
of integers on one grid): one number for each token. Then the sums that they add up are integers on one grid too, and
every number of ranks gives the same bits.

A rank's passes come one after another, each with the calls of all ranks in the same order: they cannot run on several
threads at once, so `side_by_side` is not used.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np

from minillm.arrays import Array, Float, Int
from minillm.backends.plain import Plain
from minillm.config import ModelConfig
from minillm.parallel.messages import Messages
from minillm.parallel.plan import Leader
from minillm.parallel.shard import Share
from minillm.ragged_batch import RaggedBatch

BACKENDS = ("numpy", "plain", "exact", "compiled")


class OnRanks(Plain):
    """What differs on several ranks. `on_ranks` puts it before the class of a backend.

    Attributes:
        ranks: the processes.
        share: this rank's part of the model.
        leader: on rank 0, what sends each pass to the others; None on the others, which follow, and where all ranks
            call `forward_batch` alike, within `all_together`.
        together: whether all ranks are computing the same now.
    """

    ranks: Messages
    share: Share
    leader: Leader | None
    together: bool

    def all_reduce(self, x: Array, operation: str = "sum") -> Array:
        """Return the sum (or "max") over all ranks."""
        if not self.together:
            raise ValueError("this model is cut over ranks, which compute together in forward passes only")
        return self.ranks.all_reduce(x, operation)

    def embed(self, embedding: Any, tokens: Int[Array, "tokens"]) -> Float[Array, "tokens dim"]:
        """Return the embedding's row of each token: from the rank that has it."""
        if self.leader is not None and not self.together:  # outside of a pass
            with self.leader.sends("embed", tokens), self.all_together():
                return self.embed(embedding, tokens)
        own = (tokens >= self.share.vocab.start) & (tokens < self.share.vocab.stop)
        x = super().embed(embedding, np.where(own, tokens - self.share.vocab.start, 0))
        x[~own] = 0
        return self.all_reduce(x)

    def add_linear(
        self, x: Float[Array, "tokens out"], h: Float[Array, "tokens inner"], weight: Any, bias: Any = None
    ) -> Float[Array, "tokens out"]:
        """Return x + h @ weight (+ bias), where each rank has a part of h and of the weight's inner axis."""
        product = self.cut_linear(h, weight)
        return x + (product if bias is None else product + bias)

    def logits(self, x: Float[Array, "rows dim"], head: Any) -> Float[Array, "rows vocab"]:
        """Return the logits of the whole vocabulary."""
        own = super().logits(x, head)  # [rows, the rank's tokens of the vocabulary]
        return np.concatenate(self.ranks.all_gather(own.T, self.share.vocab_sizes)).T.copy()

    def attention(
        self,
        q: Float[Array, "tokens heads head_dim"],
        k: Float[Array, "tokens kv_heads head_dim"],
        v: Float[Array, "tokens kv_heads head_dim"],
        batch: RaggedBatch,
        layer: int,
        window: int | None,
    ) -> Float[Array, "tokens heads*head_dim"]:
        """Attend with the rank's heads. Where KV heads have unequally many of them, zeros fill up."""
        even_places = self.share.even_places()
        if even_places is None:
            return super().attention(q, k, v, batch, layer, window)
        (places, count), (tokens, _, d) = even_places, q.shape
        even = np.zeros((tokens, count, d), q.dtype)
        even[:, places] = q
        output = super().attention(even, k, v, batch, layer, window)
        return output.reshape(tokens, -1, d)[:, places].reshape(tokens, -1)

    def run(self, compute: Callable[..., Array], model: Any, batch: RaggedBatch) -> Array:
        """Send the pass to the other ranks, then compute this rank's share of it, on this thread."""
        if self.together:
            return compute(model, batch)
        if self.leader is None:
            raise ValueError(f"rank {self.ranks.rank} follows rank 0, which makes the forward passes")
        with self.leader.sends_pass(model, batch), self.all_together():
            return compute(model, batch)

    def whole(self, config: ModelConfig) -> ModelConfig:
        """Return the config of the whole model."""
        return self.share.whole

    def tell(self, memory: Any, operation: str, *arguments: Any) -> None:
        """Send an operation on a cache's memory to the other ranks."""
        if self.leader is not None:
            self.leader.send_operation(memory, operation, *arguments)

    @contextmanager
    def all_together(self) -> Iterator[None]:
        """Allow calls of all ranks within the `with` block, because all ranks enter it."""
        self.together = True
        try:
            yield
        finally:
            self.together = False


def on_ranks(ops: Plain, ranks: Messages, share: Share) -> OnRanks:
    """Return this backend, one of BACKENDS, for one rank's share of a model."""
    cut: Any = copy(ops)
    cut.__class__ = type(f"{type(ops).__name__}OnRanks", (OnRanks, type(ops)), {})
    cut.ranks, cut.share, cut.leader, cut.together = ranks, share, None, False
    assert isinstance(cut, OnRanks)
    return cut
