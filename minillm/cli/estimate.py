"""`minillm estimate`: memory, time and cost of a model on a GPU, from its config alone, and what bounds each."""

import argparse
from typing import Any

from minillm.cli.options import check_plot_file

VIEWS = ("one", "compare", "sweep", "serve")


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
