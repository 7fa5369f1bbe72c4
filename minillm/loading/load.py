"""load: turn a name into a model that can run, in one process. The public `load` is in `parallel/load.py`."""

import math
import os
from os import PathLike
from typing import Any

import numpy as np

from minillm.backends import get_backend
from minillm.backends.memory import return_freed_memory
from minillm.backends.plain import Plain
from minillm.loading import Checkpoint, open_checkpoint
from minillm.loading.build import build
from minillm.loading.model_part import ModelPart
from minillm.loading.settle import EMBEDDING
from minillm.loading.stored import format_of, part_of
from minillm.model import Model
from minillm.quantization import FORMATS
from minillm.streaming import IN_MEMORY
from minillm.support.checks import check_choice
from minillm.support.forks import GATE

LAYERS = ("loaded", "streamed")


def load(
    name: str | PathLike[str],
    backend: str | Plain = "numpy",
    dtype: str = "float32",
    weights: str = "float32",
    layers: str = "loaded",
) -> Model:
    """Load a model in this process. Arguments and errors are those of `minillm.load`, in `parallel/load.py`."""
    ops, kept_as = backend_and_dtype(backend, dtype)
    check_choice(f"the {ops.name} backend: weights", weights, ops.formats)
    streamed = check_choice("layers", layers, LAYERS) == "streamed"
    return build_in_memory(open_checkpoint(name), ops, kept_as, dtype, weights, streamed=streamed)


@GATE.computing()  # a fork waits, but not for a download
def build_in_memory(
    checkpoint: Checkpoint,
    ops: Plain,
    kept_as: np.dtype[Any],
    dtype: str = "float32",
    weights: str = "float32",
    part: ModelPart | None = None,
    streamed: bool = False,
) -> Model:
    """Build a model, or the part of it that the checkpoint has, if there is memory for its weights.

    Raises:
        ValueError: there is not, the backend cannot run such a model, or the contents of a file are wrong.
    """
    ops.check_config(checkpoint.config)
    both = part is None or (part.has_embedding and part.has_head)
    needed = (streamed_bytes if streamed else weights_bytes)(checkpoint, ops, dtype, weights)
    if both and not streamed:
        needed += second_embedding_bytes(checkpoint, ops, dtype, weights)
    on_device = ops.free_memory()
    free = "" if on_device is None else f", {on_device / 1e9:.1f} GB free"
    too_large = ValueError(
        f"{checkpoint.name}: not enough memory for its weights: {needed / 1e9:.1f} GB needed as "
        f"{dtype if weights == 'float32' else weights}{free}; use a smaller model"
    )
    if needed > (_memory() if on_device is None else on_device):  # else the system kills the process without a message
        raise too_large
    try:
        model = build(checkpoint, ops, kept_as, weights, part, streamed)
    except MemoryError as problem:
        # The error of a device is also a ValueError: its message says what was needed and what is free.
        raise (problem if isinstance(problem, ValueError) else too_large) from None
    return_freed_memory()
    return model


def weights_bytes(checkpoint: Checkpoint, ops: Plain, dtype: str, weights: str) -> float:
    """Return the bytes of memory that all tensors take on this backend."""
    return sum(tensor_bytes(checkpoint, ops, dtype, weights).values())


def second_embedding_bytes(checkpoint: Checkpoint, ops: Plain, dtype: str, weights: str) -> float:
    """Return the most bytes of a tied embedding that the backend cannot share with the head; 0 if it can."""
    tied = checkpoint.config.tie_word_embeddings and not ops.head_is_embedding
    return tensor_bytes(checkpoint, ops, dtype, weights).get(EMBEDDING, 0.0) if tied else 0.0


def streamed_bytes(checkpoint: Checkpoint, ops: Plain, dtype: str, weights: str) -> float:
    """Return the bytes that are in memory at a time if layers are streamed: two layers, and what is not in a layer.

    An embedding stays in the file if the head is another matrix.
    """
    needed = tensor_bytes(checkpoint, ops, dtype, weights)
    in_layers = dict[str, float]()
    for name in [name for name in needed if part_of(name) != name]:
        layer = name.removesuffix(part_of(name))
        in_layers[layer] = in_layers.get(layer, 0.0) + needed.pop(name)
    if not checkpoint.config.tie_word_embeddings:
        needed.pop(EMBEDDING, None)
    return sum(needed.values()) + sum(sorted(in_layers.values())[-IN_MEMORY:])


def tensor_bytes(checkpoint: Checkpoint, ops: Plain, dtype: str, weights: str) -> dict[str, float]:
    """Return the bytes of memory that each tensor takes on this backend, by its name."""
    return {
        name: math.prod(tensor.shape)
        * ops.bytes_per_weight(dtype, tensor.format if weights == "stored" else format_of(name, weights))
        for name, tensor in checkpoint.tensors.items()
    }


@GATE.computing()  # it may import numba and compile
def backend_and_dtype(backend: str | Plain, dtype: str) -> tuple[Plain, np.dtype[Any]]:
    """Return the backend, and the dtype in which it computes if `dtype` is chosen.

    Raises:
        ValueError: the backend or the dtype does not exist.
    """
    ops = backend if isinstance(backend, Plain) else get_backend(backend)
    if isinstance(dtype, str) and dtype in FORMATS and dtype not in ops.dtypes:
        of_weights = f"for weights in {dtype} use weights={dtype!r} (--weights {dtype})"
        raise ValueError(f"dtype is {dtype!r}; expected one of {', '.join(ops.dtypes)}; {of_weights}")
    return ops, ops.choose_dtype(check_choice("dtype", dtype, ops.dtypes))


def _memory() -> float:
    """Return the bytes of memory of this machine, or infinity if the system does not report them."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):
        return math.inf
