"""`minillm bench`: tokens per second of each phase beside the machine's limits, measured in the same run."""

import argparse
from typing import Any

from minillm.checks import check_whole
from minillm.cli.options import add_model_options
from minillm.cli.printing import print_json


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "bench", help="measure speed", description="Measure speed beside the machine's limits."
    )
    parser.add_argument("--context", type=int, default=512, metavar="N", help="prompt tokens (default 512)")
    parser.add_argument("--new-tokens", type=int, default=32, metavar="N", help="decode steps a round (default 32)")
    parser.add_argument("--batch", type=int, default=8, metavar="B", help="sequences in the batched decode (default 8)")
    parser.add_argument("--rounds", type=int, default=5, metavar="R", help="alternating rounds (default 5)")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    from minillm.benchmark.engine import measure
    from minillm.model import load

    for name in ("context", "new_tokens", "batch", "rounds"):
        check_whole(f"--{name.replace('_', '-')}", getattr(options, name), 1, 1_000_000)
    model = load(options.model, options.backend, options.dtype)
    report = measure(model, options.context, options.new_tokens, options.batch, options.rounds)
    if options.json:
        print_json(report)
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for heading in ("", "median", "min", "max"):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = [
        ("memory bandwidth, GB/s", "bandwidth_bytes_per_s", 1e9),
        ("matrix multiply, GFLOP/s", "matmul_flops_per_s", 1e9),
        (f"prefill of {report['context']}, tokens/s", "prefill_tokens_per_s", 1),
        (f"decode at {report['context']}, tokens/s", "decode_tokens_per_s", 1),
        (f"decode, batch {report['batch']}, tokens/s", "batched_decode_tokens_per_s", 1),
    ]
    for title, key, unit in rows:
        table.add_row(title, *(f"{report[key][column] / unit:.1f}" for column in ("median", "min", "max")))
    console = Console(highlight=False)
    console.print(table)
    decode, prefill = report["decode_fraction_of_bandwidth"], report["prefill_fraction_of_matmul"]
    console.print(f"decode reaches {decode:.0%} of what the memory allows, prefill {prefill:.0%} of the matrix speed")
    return 0
