"""A model that is cut over several ranks, run and counted. The ranks are threads of this process: no MPI is needed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from minillm.config import ModelConfig
from minillm.parallel.messages import Traffic

MODEL = "story"


@dataclass(frozen=True)
class RankPass:
    """What one rank did in a forward pass.

    Attributes:
        sent: what it has sent, by kind of call.
        weight_bytes: bytes of weights that it has read.
        same: whether its logits are those of the whole model, up to rounding.
    """

    sent: dict[str, Traffic]
    weight_bytes: int
    same: bool


def config_of_model() -> ModelConfig:
    """Return the config of MODEL."""
    from minillm.loading import open_checkpoint

    return open_checkpoint(MODEL).config


def tensor_parallel_pass(ranks: int, tokens: Sequence[int]) -> list[RankPass]:
    """Run one pass of MODEL, cut by heads and columns, and return what each rank did. `ranks` 1 is the whole model."""
    import numpy as np

    from minillm.backends import get_backend
    from minillm.kv_cache.contiguous import KVCache
    from minillm.loading import open_checkpoint
    from minillm.loading.load import load
    from minillm.parallel.backend import OnRanks
    from minillm.parallel.load import build_share
    from minillm.parallel.thread_ranks import ThreadRank, in_threads
    from minillm.trace.counting import counted
    from minillm.transformer import forward, forward_batch

    checkpoint, expected = open_checkpoint(MODEL), forward(load(MODEL), tokens)[-1:]

    def run(rank: ThreadRank) -> RankPass:
        share = build_share(rank, checkpoint, get_backend("numpy"), np.dtype(np.float32))
        model, count = counted(share)
        assert isinstance(model.ops, OnRanks)
        with model.ops.all_together():
            logits = forward_batch(model, [(tokens, KVCache(model, len(tokens)))])
        return RankPass(rank.sent, count.weight_bytes, bool(np.allclose(logits, expected, rtol=1e-3, atol=1e-3)))

    return in_threads(ranks, run)


def idle_share(stages: int, micro_batches: int, tokens: Sequence[int]) -> float:
    """Run one pass of MODEL in a pipeline, and return the share of slots in which its stages idled."""
    from minillm.loading.load import load
    from minillm.parallel.pipeline import Stage, bubble, on_stage
    from minillm.parallel.thread_ranks import ThreadRank, in_threads
    from minillm.transformer import forward

    model = load(MODEL)

    def run(rank: ThreadRank) -> list[tuple[int, int]]:
        stage = Stage(rank, model.config.num_hidden_layers, micro_batches)
        part = replace(model, layer_weights=tuple(model.layers(stage.layers.start, stage.layers.stop)))
        forward(on_stage(part, stage), tokens)
        return list(stage.done)

    return bubble(in_threads(stages, run))
