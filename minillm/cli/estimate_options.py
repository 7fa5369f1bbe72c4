"""The options of `minillm estimate` as a model, a machine and requests; a wrong value is a ValueError."""

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minillm.support.checks import check_choice, check_integer
from minillm.support.wording import counted

if TYPE_CHECKING:
    from minillm.config import ModelConfig
    from minillm.estimate.hardware import Machine
    from minillm.estimate.report import Workload
    from minillm.estimate.serving import Serving
    from minillm.estimate.streaming import Streamed

MOST_TOKENS, MOST_BATCH = 10_000_000, 100_000


def serving_from(options: argparse.Namespace, machine: "Machine", config: "ModelConfig") -> "Serving":
    """Return the model on this machine, as the options describe it.

    Raises:
        ValueError: an option is out of range.
    """
    from minillm.estimate.memory import find_cache_format, find_format, find_weights
    from minillm.estimate.serving import MOST_GPUS, Serving

    if options.weights is not None and options.dtype is not None:
        raise ValueError("--weights counts scales and --dtype does not; leave out one of them")
    dtype = dtype_from(options, machine.name)
    gpus = check_integer("--tp", options.tp, 1, MOST_GPUS)
    if gpus > 1 and not machine.link_bytes_per_s:
        raise ValueError(f"--tp is {gpus}, but {machine.name} has no link to other GPUs; expected 1")
    if gpus > 1 and options.layers == "streamed":
        raise ValueError(f"--tp is {gpus}; layers are streamed to one GPU: leave out --tp or --layers")
    return Serving(
        config=config,
        machine=machine,
        gpus=gpus,
        weights=find_format(dtype) if options.weights is None else find_weights(dtype, config),
        cache_bytes=find_cache_format(cache_format_from(options, machine.name), config).bytes_each,
        mfu=check_number("--mfu", options.mfu, 0.001, 1),
        mbu=check_number("--mbu", options.mbu, 0.001, 1),
        streamed=streamed_from(options, dtype, config),
    )


def streamed_from(options: argparse.Namespace, weights: str, config: "ModelConfig") -> "Streamed | None":
    """Return what is read from the file if the layers are streamed, else None.

    Raises:
        ValueError: there is a bandwidth but nothing is streamed, or the reverse.
    """
    from minillm.estimate.streaming import streamed

    if check_choice("--layers", options.layers, ("loaded", "streamed")) == "loaded":
        if options.disk is not None:
            raise ValueError("--disk belongs to --layers streamed; leave it out")
        return None
    if options.disk is None:
        raise ValueError("--layers streamed needs --disk, the GB a second that the file gives: 3 for an NVMe disk")
    # --dtype int4 counts the numbers alone, --weights int4 scales and an int8 head.
    return streamed(config, weights, check_number("--disk", options.disk, 1e-3, 1e5) * 1e9, options.weights is not None)


def dtype_from(options: argparse.Namespace, gpu: str) -> str:
    """Return the format of the weights: the one asked for, or float16 (on this-machine float32)."""
    usual = "float32" if gpu == "this-machine" else "float16"
    given = options.dtype if options.weights is None else options.weights
    return usual if given is None else str(given)


def cache_format_from(options: argparse.Namespace, gpu: str) -> str:
    """Return the format of keys and values: the one asked for, or float32 if the weights are, else float16."""
    usual = "float32" if dtype_from(options, gpu) == "float32" else "float16"
    return usual if options.kv_cache is None else str(options.kv_cache)


def asked(options: argparse.Namespace, gpu: str, *more: str) -> dict[str, Any]:
    """Return the JSON record of what was estimated; `more` names options that belong to one view."""
    names = ("model", "tp", "mfu", "mbu", "prompt", "output", "layers", "disk", *more)
    formats = {
        "dtype": dtype_from(options, gpu),
        "weights": options.weights,
        "kv_cache": cache_format_from(options, gpu),
    }
    return {name: getattr(options, name) for name in names} | formats


def workload_from(options: argparse.Namespace, batch: int) -> "Workload":
    """Return the requests, as the options describe them.

    Raises:
        ValueError: an option is out of range.
    """
    from minillm.estimate.report import Workload

    rps = None if options.rps is None else check_number("--rps", options.rps, 1e-6, 1e9)
    prompt = check_integer("--prompt", options.prompt, 1, MOST_TOKENS)
    return Workload(prompt, check_integer("--output", options.output, 1, MOST_TOKENS), batch, rps)


def doubts(options: argparse.Namespace, config: "ModelConfig", tokens: int) -> list[str]:
    """Return a line for each way in which the workload and the GPUs do not suit the model."""
    from minillm.estimate.sharding import largest_share

    context, gpus, lines = config.max_position_embeddings, options.tp, []
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    share = largest_share(config, gpus)
    if tokens > context:
        lines.append(f"{tokens:,} tokens are more than the context of {options.model}, {context:,}.")
    if heads % gpus:
        most = counted(share.num_attention_heads, "head")
        lines.append(
            f"{counted(heads, 'head')} cannot be shared evenly by {gpus} GPUs. "
            f"The figures are of the largest share: {most}."
        )
    held = share.num_key_value_heads * gpus
    if held != kv_heads:
        lines.append(
            f"{counted(kv_heads, 'KV head')} cannot be shared evenly by {gpus} GPUs. Each holds up to "
            f"{share.num_key_value_heads}: the cache takes {held / kv_heads:.3g} times its size."
        )
    return lines


def price_from(options: argparse.Namespace) -> float | None:
    """Return dollars per hour, or None for the price in the table."""
    return None if options.price is None else check_number("--price", options.price, 0, 1e6)


def batch_from(text: str | None) -> int:
    """Return one batch size; 1 for None."""
    if text is None:
        return 1
    if not text.strip().isdecimal():
        raise ValueError(f"--batch is {text[:40]!r}; expected an integer of at least 1")
    return check_integer("--batch", int(text[:20]), 1, MOST_BATCH)


def batches_from(text: str) -> list[int]:
    """Return `3..20` as [3, 6, 12, 20], and `20` as `1..20`."""
    from minillm.estimate.units import doubling

    first, dots, last = text.partition("..")
    if not dots:
        first, last = "1", text
    start, end = batch_from(first), batch_from(last)
    if start > end:
        raise ValueError(f"--batch is {text[:40]!r}; expected from..to, the smaller number first")
    return doubling(start, end)


def check_number(name: str, value: float, low: int | float, high: int | float) -> float:
    """Return `value` if it is a finite number from `low` to `high`.

    Raises:
        ValueError: it is not.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} is {value:g}; expected a number from {low:g} to {high:g}")
    return value


def config_from(name: str) -> "ModelConfig":
    """Return the config of a model in the table, of a config.json, or of a model that `load` knows. Reads no weights.

    Raises:
        ValueError: no model has this name, or the config is invalid.
        OSError: a file cannot be read.
    """
    from minillm.estimate.models import model_table
    from minillm.loading import open_config
    from minillm.loading.registry import REGISTRY

    if name in REGISTRY and REGISTRY[name].folder() is None:
        name = REGISTRY[name].in_table or name
    if name in model_table():
        return model_table()[name]
    try:
        return open_config(name)
    except ValueError as problem:
        if "no model" not in str(problem):
            raise
        raise ValueError(f"{problem}; the table has {', '.join(model_table())}") from None


def weights_on_disk(name: str) -> bool:
    """Return whether this model can be measured without a download."""
    from minillm.loading import is_gguf
    from minillm.loading.registry import REGISTRY

    path = REGISTRY[name].folder() if name in REGISTRY else Path(os.path.expanduser(name))
    return path is not None and (any(path.glob("*.safetensors")) if path.is_dir() else path.is_file() and is_gguf(path))
