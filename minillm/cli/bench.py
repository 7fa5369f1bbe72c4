"""`minillm bench`: tokens per second of each phase beside the machine's limits, measured in the same run."""

import argparse
import contextlib
from typing import Any

from minillm.checks import check_whole
from minillm.cli.options import add_model_options
from minillm.cli.printing import print_json, show
from minillm.loading.registry import REGISTRY


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "bench", help="measure speed", description="Measure speed beside the machine's limits."
    )
    parser.add_argument("--context", type=int, default=512, metavar="N", help="prompt tokens (default 512)")
    parser.add_argument("--new-tokens", type=int, default=32, metavar="N", help="decode steps a round (default 32)")
    parser.add_argument("--batch", type=int, default=8, metavar="B", help="sequences in the batched decode (default 8)")
    parser.add_argument("--rounds", type=int, default=5, metavar="R", help="alternating rounds (default 5)")
    parser.add_argument(
        "--against", action="append", default=[], choices=["transformers", "llama-cpp"], help="also measure this engine"
    )
    parser.add_argument("--exact", action="store_true", help="also measure what the exact backend costs")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    from minillm.benchmark.engine import measure
    from minillm.benchmark.exact_cost import exact_cost
    from minillm.benchmark.peer import start_peer
    from minillm.loading.progress import progress_on_stderr
    from minillm.model import load

    for name in ("context", "new_tokens", "batch", "rounds"):
        check_whole(f"--{name.replace('_', '-')}", getattr(options, name), 1, 1_000_000)
    if options.exact and options.backend == "exact":
        raise ValueError("--exact compares another backend with the exact one; expected --backend numpy or plain")
    model = load(options.model, options.backend, options.dtype)
    longest, tokens = model.config.max_position_embeddings, options.context + options.new_tokens
    if tokens > longest:
        raise ValueError(f"--context and --new-tokens make {tokens} tokens; the model's context holds {longest}")
    with contextlib.ExitStack() as open_peers:
        path = _path(options.model) if options.against else ""
        peers = [open_peers.enter_context(start_peer(name, path, tokens)) for name in dict.fromkeys(options.against)]
        with progress_on_stderr() as progress:
            report = measure(model, options.context, options.new_tokens, options.batch, options.rounds, peers, progress)
    if options.exact:
        exact = load(options.model, "exact")
        report["exact"] = exact_cost(model, exact, options.context, options.new_tokens, options.rounds)
    if options.json:
        print_json(report)
    else:
        _print_report(report)
    return 0


def _path(model: str) -> str:
    """The folder or file of a model, for peers."""
    if model in REGISTRY:
        return str(REGISTRY[model].fetch())
    if model.startswith("hf:"):
        from minillm.loading.hub import fetch_from_hub

        return str(fetch_from_hub(model))
    return model


def _print_report(report: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("", "median", "min", "max"):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = [
        ("memory, GB/s", report["bandwidth_bytes_per_s"], 1e9),
        ("matrices, GFLOP/s", report["matmul_flops_per_s"], 1e9),
        ("prefill, tokens/s", report["prefill_tokens_per_s"], 1),
        ("decode, tokens/s", report["decode_tokens_per_s"], 1),
        (f"decode, batch {report['batch']}", report["batched_decode_tokens_per_s"], 1),
    ]
    for name, peer in report["against"].items():
        rows += [(f"{name}, {phase}", peer[f"{phase}_tokens_per_s"], 1) for phase in ("prefill", "decode")]
    for title, spread, unit in rows:
        table.add_row(title, *(f"{spread[column] / unit:.1f}" for column in ("median", "min", "max")))
    show(table)
    decode, prefill = report["decode_fraction_of_bandwidth"], report["prefill_fraction_of_matmul"]
    show(f"context {report['context']}; decode reaches {decode:.0%} of what the memory allows, prefill {prefill:.0%} "
         f"of the matrix speed; peak memory is {report['peak_memory_over_weights']:.2f} times the weights")  # fmt: skip
    for name, peer in report["against"].items():
        show(f"beside {name}: {peer['prefill_ratio']:.2f} times at prefill, {peer['decode_ratio']:.2f} at decode")
    if "exact" in report:
        costs = (report["exact"][f"{phase}_times_as_long"] for phase in ("prefill", "decode"))
        shown = (f"{cost['median']:.2f} [{cost['min']:.2f} to {cost['max']:.2f}]" for cost in costs)
        show("exactness takes {} times as long at prefill, {} at decode".format(*shown))
