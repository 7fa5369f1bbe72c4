"""load: turn a name into a model that can run, on one rank or cut over several, by columns or by layers."""

import atexit
import sys
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from minillm.backends.plain import Plain
from minillm.loading import load as loading
from minillm.loading import open_checkpoint
from minillm.loading.checkpoint import Checkpoint
from minillm.loading.fingerprint import fingerprint
from minillm.model import Model
from minillm.parallel.backend import BACKENDS, OnRanks, on_ranks
from minillm.parallel.messages import Messages
from minillm.parallel.pipeline import OnStage, Stage, on_stage
from minillm.parallel.plan import Follower, Leader
from minillm.parallel.ranks import Ranks, ranks_of
from minillm.parallel.shard import cut, is_grouped, share_of_rank
from minillm.support.checks import check_choice
from minillm.transformer import all_layers

_cut: list[Model] = []  # at most one: the other ranks are in the call that loaded it


def load(
    name: str | PathLike[str],
    backend: str | Plain = "numpy",
    dtype: str = "float32",
    weights: str = "float32",
    layers: str = "loaded",
    comm: Any = None,
    parallel: str = "tensor",
) -> Model:
    """Load a model from a name, a folder or a file.

    Args:
        name: a registry name such as "smollm2", a folder in Hugging Face layout, a GGUF file, or "hf:org/name".
        backend: "numpy", "compiled" (by numba, the fastest on a CPU), "plain" (readable), "exact" (the same bits on
            every machine) or "cupy" (GPU); or a backend of your own, an object whose class is derived from
            `minillm.backends.plain.Plain`.
        dtype: "float32" or "float64"; "exact" is always float64; on "cupy" weights may be "float16" or "bfloat16".
        weights: the format of the matrices in memory: "float32" (that is, `dtype`), "bfloat16", "int8" or "int4", or
            "stored" for the formats in which the file stores them; see `minillm.quantization`.
        layers: "loaded" keeps all layers in memory; "streamed" leaves them in the file, and each forward pass reads
            them from there, two at a time; see `minillm.streaming`.
        comm: a communicator of mpi4py, such as MPI.COMM_WORLD, to cut the model over the processes that mpiexec
            started. Rank 0 returns. The other ranks stay in this call: they compute their part of every forward pass of
            rank 0, and end with it.
        parallel: how the model is cut: "tensor" gives each rank a part of every layer, "pipeline" some of the layers.

    Raises:
        ValueError: the name, an argument or the contents of a file are wrong; the message says which.
        OSError: a file is missing or cannot be read, a download failed, "compiled" finds no numba, or "cupy" no
            GPU.

    Example:
        >>> model = minillm.load("story")
        >>> model.tokenizer.decode(model.tokenizer.encode("Once upon a time"))
        'Once upon a time'
    """
    if comm is None:
        return loading.load(name, backend, dtype, weights, layers)
    ranks = ranks_of(comm)  # first, so that a rank with a wrong argument ends all
    if check_choice("layers", layers, loading.LAYERS) == "streamed":
        raise ValueError(
            "layers is 'streamed' (--stream-layers); a model that is cut over ranks is loaded: leave it out"
        )
    check_choice("parallel", parallel, ("tensor", "pipeline"))
    if _cut:
        raise ValueError("these ranks follow the model that they have loaded; load another in a run of its own")
    load_part = load_share if parallel == "tensor" else load_stage
    model = load_part(ranks, name, backend, dtype, weights)
    if ranks.rank:
        follow(model)
        sys.exit()
    atexit.register(end, model)
    _cut.append(model)
    return model


def load_share(ranks: Ranks, name: str | PathLike[str], backend: str | Plain, dtype: str, weights: str) -> Model:
    """Load this rank's share of a model. All ranks call it. Rank 0 can use the model, if the others `follow`.

    Its config is the share's, except that the vocabulary is the whole one.

    Raises:
        ValueError: as `load`; or the ranks disagree, or there are more ranks than heads.
    """
    ops, kept_as, checkpoint = _agreed(ranks, "tensor", name, backend, dtype, weights)
    model = build_share(ranks, checkpoint, ops, kept_as, dtype, weights)
    if ranks.rank == 0:
        assert isinstance(model.ops, OnRanks)
        model.ops.leader = Leader(ranks, model)
    return model


def build_share(
    ranks: Messages,
    checkpoint: Checkpoint,
    ops: Plain,
    kept_as: np.dtype[Any],
    dtype: str = "float32",
    weights: str = "float32",
) -> Model:
    """Build this rank's share of a checkpoint, as `load_share` does. All ranks call it, with the same arguments."""
    share = share_of_rank(checkpoint.config, ranks.size, ranks.rank, is_grouped(checkpoint, weights))
    here = on_ranks(ops, ranks, share)
    with here.all_together():
        model = loading.build_in_memory(cut(checkpoint, share), here, kept_as, dtype, weights)
    return replace(model, config=replace(model.config, vocab_size=checkpoint.config.vocab_size))


def load_stage(
    ranks: Ranks,
    name: str | PathLike[str],
    backend: str | Plain,
    dtype: str,
    weights: str,
    micro_batches: int | None = None,
) -> Model:
    """Load this rank's layers of a model, and the embedding or the head if its stage has them. All ranks call it.

    The model that is returned has these layers only, so a cache that is made for it stores only their keys and values.
    Rank 0 can use the model, if the others `follow`.

    Args:
        ranks: the processes, one for each stage.
        name, backend, dtype, weights: as in `load`.
        micro_batches: the most micro-batches of one pass; by default the number that costs least.

    Raises:
        ValueError: as `load`; or the ranks disagree, or there are more ranks than layers.
    """
    ops, kept_as, checkpoint = _agreed(ranks, "pipeline", name, backend, dtype, weights, micro_batches=micro_batches)
    stage = Stage(ranks, checkpoint.config.num_hidden_layers, micro_batches)
    part = loading.build_in_memory(stage.part.of(checkpoint), ops, kept_as, dtype, weights, stage.part)
    model = on_stage(part, stage)
    if ranks.rank == 0:
        assert isinstance(model.ops, OnStage)
        model.ops.leader = Leader(ranks, model)
    return model


def _agreed(
    ranks: Ranks,
    parallel: str,
    name: str | PathLike[str],
    backend: str | Plain,
    dtype: str,
    weights: str,
    **others: int | None,
) -> tuple[Plain, Any, Checkpoint]:
    """Return backend, dtype and checkpoint, after all ranks have agreed on them, and on `others`."""
    ranks.agree(
        {
            "minillm": sys.modules["minillm"].__version__,
            "parallel": parallel,
            "the backend": backend if isinstance(backend, str) else type(backend).__qualname__,
            "dtype": dtype,
            "weights": weights,
        }
        | others
    )
    ops, kept_as = loading.backend_and_dtype(backend, dtype)
    if ops.name not in BACKENDS:
        raise ValueError(f"the {ops.name} backend computes on one rank; on several, use one of {', '.join(BACKENDS)}")
    check_choice(f"the {ops.name} backend: weights", weights, ops.formats)
    checkpoint = open_checkpoint(name)
    ranks.agree({"the hash of the model's files": fingerprint(checkpoint)})
    return ops, kept_as, checkpoint


def follow(model: Model) -> None:
    """Compute this rank's part of the forward passes of rank 0, until rank 0 ends."""
    ops = model.ops
    if isinstance(ops, OnStage):
        assert isinstance(ops.stage.ranks, Ranks)
        Follower(ops.stage.ranks, model).follow(ops.stage.run)
        return
    assert isinstance(ops, OnRanks) and isinstance(ops.ranks, Ranks)
    with ops.all_together():
        Follower(ops.ranks, model).follow(all_layers)


def end(model: Model) -> None:
    """Let the other ranks end. Rank 0 calls it; the model cannot run any more."""
    assert isinstance(model.ops, OnRanks | OnStage)
    if model.ops.leader is not None:
        model.ops.leader.end()
        model.ops.leader = None
