"""`minillm estimate`: memory, time and cost of a model on a GPU, from its config alone, and what bounds each."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minillm.checks import check_whole
from minillm.cli.options import check_plot_file

if TYPE_CHECKING:
    from minillm.config import ModelConfig
    from minillm.estimate.hardware import Machine
    from minillm.estimate.report import Workload
    from minillm.estimate.serving import Serving

VIEWS = ("one", "compare", "sweep", "serve")
MOST_TOKENS, MOST_BATCH, MOST_GPUS = 10_000_000, 100_000, 4096


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "estimate",
        help="memory, time and cost of a model on a GPU",
        description="Memory, time and cost of a model on a GPU, from its config alone, and what bounds each.",
    )
    add = parser.add_argument
    add(
        "view",
        nargs="?",
        default="one",
        metavar="VIEW",
        help="one (default), compare (GPUs), sweep (batches) or serve (requests that arrive)",
    )
    add("--model", default="llama-2-7b", help="a name, a folder, a config.json, a .gguf file, or hf:org/name")
    add("--gpu", help="a GPU of the table, or this-machine, which is measured (default a100); for several, see --gpus")
    add("--gpus", default="all", metavar="G,...", help="compare: the GPUs (default all)")
    add("--prompt", type=int, default=500, metavar="N", help="tokens of the prompt (default 500)")
    add("--output", type=int, default=100, metavar="N", help="tokens of the answer (default 100)")
    add(
        "--batch",
        metavar="B",
        help="requests at once (default 1); sweep: from..to (1..256); serve: static batches (32)",
    )
    add("--dtype", help="of the weights: float16 (default), float32, bfloat16, int8, int4, q8_0, q4_0")
    add("--tp", type=int, default=1, metavar="N", help="GPUs that hold the model together (default 1)")
    add("--rps", type=float, metavar="R", help="requests that arrive each second")
    add("--price", type=float, metavar="D", help="dollars an hour of one GPU (default: the table's, if it has one)")
    add("--mfu", type=float, default=1.0, metavar="F", help="share of the peak arithmetic that is reached (default 1)")
    add("--mbu", type=float, default=1.0, metavar="F", help="share of the peak bandwidth that is reached (default 1)")
    add("--requests", type=int, default=300, metavar="N", help="serve: how many arrive (default 300)")
    add("--burst", type=int, default=1, metavar="N", help="serve: so many arrive at once (default 1)")
    add("--trace", metavar="FILE", help="serve: arrivals from a CSV file with columns at_s,prompt,new_tokens")
    add("--replicas", type=int, default=1, metavar="N", help="serve: copies of the server (default 1)")
    add("--target", type=float, metavar="S", help="serve: how many replicas keep 95%% of first tokens below S seconds")
    add("--explain", action="store_true", help="show each formula with its numbers put in")
    add("--plot", metavar="FILE.svg", help="draw the roofline with this workload's points")
    add("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check everything, estimate, print."""
    from minillm.cli.estimate_serve import serve
    from minillm.cli.estimate_views import compare, one, sweep

    if options.view not in VIEWS:
        raise ValueError(f"view is {options.view[:40]!r}; expected one of {', '.join(VIEWS)}")
    _check_belongs(options)
    check_plot_file(options.plot)
    {"one": one, "compare": compare, "sweep": sweep, "serve": serve}[options.view](options)
    return 0


BELONG = {  # options of some views, and the values that mean that they were not given
    "plot": ("one", None), "explain": ("one", False), "gpus": ("compare", "all"), "trace": ("serve", None),
    "target": ("serve", None), "burst": ("serve", 1), "replicas": ("serve", 1), "requests": ("serve", 300),
    "gpu": ("one sweep serve", None), "rps": ("one serve", None), "price": ("one compare", None),
}  # fmt: skip
IN_A_TRACE = {"rps": None, "requests": 300, "burst": 1, "prompt": 500, "output": 100}  # and when they were not given


def _check_belongs(options: argparse.Namespace) -> None:
    """Nothing is ignored in silence.

    Raises:
        ValueError: an option belongs to other views, or says what a trace says.
    """
    for name, (views, absent) in BELONG.items():
        if getattr(options, name) != absent and options.view not in views.split():
            where = " and ".join(f"`minillm estimate {view}`".replace(" one", "") for view in views.split())
            raise ValueError(f"--{name} belongs to {where}; leave it out of {options.view!r}")
    for name, absent in IN_A_TRACE.items():
        if options.trace is not None and getattr(options, name) != absent:
            raise ValueError(f"--{name} says what the trace says already; leave it out beside --trace")


def serving_from(options: argparse.Namespace, machine: "Machine", config: "ModelConfig") -> "Serving":
    """The model on this machine as the options say.

    Raises:
        ValueError: an option is out of range.
    """
    from minillm.estimate.memory import find_format
    from minillm.estimate.serving import Serving

    dtype = dtype_from(options, machine.name)
    gpus = check_whole("--tp", options.tp, 1, MOST_GPUS)
    if gpus > 1 and not machine.link_bytes_per_s:
        raise ValueError(f"--tp is {gpus}, but {machine.name} has no link to others; expected 1")
    return Serving(
        config=config,
        machine=machine,
        gpus=gpus,
        weights=find_format(dtype),
        cache_bytes=4 if dtype == "float32" else 2,
        mfu=check_number("--mfu", options.mfu, 0.001, 1),
        mbu=check_number("--mbu", options.mbu, 0.001, 1),
    )


def dtype_from(options: argparse.Namespace, gpu: str) -> str:
    """Of the weights: what is asked for, or what is usual on this GPU."""
    usual = "float32" if gpu == "this-machine" else "float16"
    return usual if options.dtype is None else str(options.dtype)


def asked(options: argparse.Namespace, gpu: str, *more: str) -> dict[str, Any]:
    """For JSON: what was estimated; `more` are options that belong to one view."""
    names = ("model", "tp", "mfu", "mbu", "prompt", "output", *more)
    return {name: getattr(options, name) for name in names} | {"dtype": dtype_from(options, gpu)}


def workload_from(options: argparse.Namespace, batch: int) -> "Workload":
    """The requests.

    Raises:
        ValueError: an option is out of range.
    """
    from minillm.estimate.report import Workload

    rps = None if options.rps is None else check_number("--rps", options.rps, 1e-6, 1e9)
    prompt = check_whole("--prompt", options.prompt, 1, MOST_TOKENS)
    return Workload(prompt, check_whole("--output", options.output, 1, MOST_TOKENS), batch, rps)


def doubts(options: argparse.Namespace, config: "ModelConfig", tokens: int) -> list[str]:
    """What this model could not do as it is: a line each, since the figures are those of one that could."""
    context, heads, lines = config.max_position_embeddings, config.num_attention_heads, []
    if tokens > context:
        lines.append(f"{tokens:,} tokens are more than the context of {options.model}, {context:,}.")
    if heads % options.tp:
        lines.append(f"{heads} heads cannot be shared evenly by {options.tp} GPUs.")
    return lines


def price_from(options: argparse.Namespace) -> float | None:
    """Dollars an hour, or None for the table's."""
    return None if options.price is None else check_number("--price", options.price, 0, 1e6)


def batch_from(text: str | None) -> int:
    """One batch size; 1 if nothing is said."""
    if text is None:
        return 1
    if not text.strip().isdecimal():
        raise ValueError(f"--batch is {text[:40]!r}; expected a whole number of at least 1")
    return check_whole("--batch", int(text[:20]), 1, MOST_BATCH)


def batches_from(text: str) -> list[int]:
    """`1..256` as 1, 2, 4 and so on to 256."""
    from minillm.estimate.units import doubling

    first, dots, last = text.partition("..")
    if not dots:
        first, last = "1", text
    start, end = batch_from(first), batch_from(last)
    if start > end:
        raise ValueError(f"--batch is {text[:40]!r}; expected from..to, the smaller first")
    return doubling(start, end)


def check_number(name: str, value: float, low: int | float, high: int | float) -> float:
    """A finite number in a range.

    Raises:
        ValueError: it is not.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} is {value:g}; expected a number from {low:g} to {high:g}")
    return value


def config_from(name: str) -> "ModelConfig":
    """The config of a model of the table, of a config.json, or of whatever `load` knows; no weights are read.

    Raises:
        ValueError, OSError: there is none, or it is not one.
    """
    from minillm.estimate.models import model_table

    if name in model_table():
        return model_table()[name]
    if Path(name).suffix == ".json" and Path(name).is_file():
        from minillm.loading.json_file import read_json
        from minillm.loading.read_config import read_config

        return read_config(read_json(Path(name)), Path(name).name)
    from minillm.loading import open_checkpoint

    try:
        return open_checkpoint(name).config
    except ValueError as problem:
        if "no model" not in str(problem):
            raise
        raise ValueError(f"{problem}; the table has {', '.join(model_table())}") from None
