"""`minillm estimate`: memory, time and cost of a model on a GPU, computed from its config, and what bounds each."""

import argparse
from collections.abc import Callable
from typing import Any

from minillm.cli.options import check_plot_file

VIEWS = ("one", "compare", "sweep", "serve")


def add_parser(commands: Any) -> None:
    """Add `estimate` with the options of all its views; `run` refuses an option of another view."""
    parser = commands.add_parser(
        "estimate",
        help="estimate memory, time and cost of a model on a GPU",
        description="Estimate memory, time and cost of a model on a GPU from its config, and show what bounds each.",
    )
    add = parser.add_argument
    add(
        "view",
        nargs="?",
        default="one",
        metavar="VIEW",
        help="one (default), compare (GPUs), sweep (batch sizes) or serve (requests arrive over time)",
    )
    add("--model", default="llama-2-7b", help="a name, a folder, a config.json, a .gguf file, or hf:org/name")
    add("--gpu", help="a GPU of the table (default a100), or this-machine, which is measured; for several, see --gpus")
    add("--gpus", default="all", metavar="G,...", help="compare: these GPUs (default all)")
    add("--prompt", type=int, default=500, metavar="N", help="tokens of the prompt (default 500)")
    add("--output", type=int, default=100, metavar="N", help="tokens of the answer (default 100)")
    add(
        "--batch",
        metavar="B",
        help="requests in a batch (default 1); sweep: from..to (1..256); serve: the static batch (32)",
    )
    _add_settings(add)
    add("--explain", action="store_true", help="show each formula with its numbers")
    add("--plot", metavar="FILE.svg", help="draw the roofline and this workload's points")
    add("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def _add_settings(add: Callable[..., Any]) -> None:
    """Add the options that say how the model runs, and how requests arrive."""
    add("--weights", metavar="FORMAT", help="format of the weights, as in minillm: float32, bfloat16, int8, int4")
    add("--dtype", help="the same by the numbers alone: float16 (default), float32, bfloat16, int8, int4, q8_0, q4_0")
    add("--kv-cache", metavar="FORMAT", help="of keys and values: float16 (default; float32 if the weights are), int8")
    add("--tp", type=int, default=1, metavar="N", help="GPUs that share the model by tensor parallelism (default 1)")
    add("--layers", default="loaded", help="loaded (default), or streamed: each pass reads the layers from the file")
    add("--disk", type=float, metavar="GB/S", help="streamed: bandwidth of the file, in GB a second")
    add("--rps", type=float, metavar="R", help="requests that arrive per second")
    add("--price", type=float, metavar="D", help="dollars per hour of one GPU (default: the table's, if it has one)")
    add("--mfu", type=float, default=1.0, metavar="F", help="fraction of the peak arithmetic reached (default 1)")
    add("--mbu", type=float, default=1.0, metavar="F", help="fraction of the peak bandwidth reached (default 1)")
    add("--requests", type=int, default=300, metavar="N", help="serve: requests in all (default 300)")
    add("--burst", type=int, default=1, metavar="N", help="serve: requests that arrive at the same moment (default 1)")
    add("--trace", metavar="FILE", help="serve: read the arrivals from a CSV file with columns at_s,prompt,new_tokens")
    add("--replicas", type=int, default=1, metavar="N", help="serve: copies of the server (default 1)")
    add("--target", type=float, metavar="S", help="serve: find the replicas that keep 95%% of first tokens below S s")


def run(options: argparse.Namespace) -> int:
    """Check the options, estimate, and print."""
    from minillm.cli.estimate_serve import serve
    from minillm.cli.estimate_views import compare, one, sweep

    if options.view not in VIEWS:
        raise ValueError(f"view is {options.view[:40]!r}; expected one of {', '.join(VIEWS)}")
    _check_belongs(options)
    check_plot_file(options.plot)
    {"one": one, "compare": compare, "sweep": sweep, "serve": serve}[options.view](options)
    return 0


BELONG = {  # by option: its views, and the value that means that it was not given
    "plot": ("one", None), "explain": ("one", False), "gpus": ("compare", "all"), "trace": ("serve", None),
    "target": ("serve", None), "burst": ("serve", 1), "replicas": ("serve", 1), "requests": ("serve", 300),
    "gpu": ("one sweep serve", None), "rps": ("one serve", None), "price": ("one compare", None),
}  # fmt: skip
# What a trace says itself, with the values that mean that it was not given.
IN_A_TRACE = {"rps": None, "requests": 300, "burst": 1, "prompt": 500, "output": 100}


def _check_belongs(options: argparse.Namespace) -> None:
    """Refuse options that would be ignored.

    Raises:
        ValueError: an option belongs to other views, or says what the trace says.
    """
    for name, (views, absent) in BELONG.items():
        if getattr(options, name) != absent and options.view not in views.split():
            where = " and ".join(f"`minillm estimate {view}`".replace(" one", "") for view in views.split())
            raise ValueError(f"--{name} belongs to {where}; leave it out of {options.view!r}")
    for name, absent in IN_A_TRACE.items():
        if options.trace is not None and getattr(options, name) != absent:
            raise ValueError(f"--{name} says what the trace says already; leave out --{name} or --trace")
