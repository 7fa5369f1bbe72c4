"""`minillm bench --speculative`: plain and speculative decoding side by side."""

import argparse
from collections.abc import Mapping
from typing import Any

from minillm.cli.printing import print_json, show

LEGEND = """\
times plain: measured, how many times as fast as plain decoding; formula: the
  same by the theory, from a, the costs of a draft token and a pass, and each k
a: accepted draft tokens of those that were judged; per round: new tokens
same: whether the text is that of plain decoding"""
DRAFTS = {"story": ["story-draft"]}  # by model, draft models with the same tokens


def run_speculation(options: argparse.Namespace) -> int:
    """Measure speculative decoding, and print the result."""
    from minillm.benchmark.speculation import measure_speculation
    from minillm.loading.load import load
    from minillm.speculative import skip_layers
    from minillm.support.progress import progress_on_stderr

    model = load(options.model, options.backend, options.dtype, options.weights)
    drafts = [load(name, options.backend, options.dtype, options.weights) for name in DRAFTS.get(options.model, [])]
    with progress_on_stderr() as progress:
        record = measure_speculation(model, [*drafts, skip_layers(model)], options.new_tokens, options.rounds, progress)
    if options.json:
        print_json(record)
    else:
        print_speculation(record)
    return 0


def print_speculation(record: Mapping[str, Any]) -> None:
    """Print the cost of a pass by its rows, and a table for each drafter: what it gains on each task."""
    from rich.table import Table

    from minillm.cli.bench_tables import spread_text

    costs = "  ".join(f"{rows}: {cost:.2f}" for rows, cost in record["verify_cost"].items())
    show(f"{record['model']}: a pass of n rows in decode steps: {costs}", "")
    for drafter in dict.fromkeys(case["drafter"] for case in record["cases"]):
        cases = [case for case in record["cases"] if case["drafter"] == drafter]
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        headings = ("task", "times plain", "formula", "a", "per round", "rounds", "proposed", "accepted", "same")
        for heading in headings:
            table.add_column(heading, justify="left" if heading == "task" else "right", overflow="fold")
        for case in cases:
            table.add_row(
                case["task"],
                spread_text(case["times_plain"]),
                f"{case['predicted_times_plain']:.2f}",
                f"{case['acceptance']:.2f}",
                f"{case['tokens_per_round']:.2f}",
                str(case["rounds"]),
                str(case["proposed"]),
                str(case["accepted"]),
                "yes" if case["same_tokens"] else "no",
            )
        show(f"draft: {drafter}, a draft token costs {cases[0]['draft_cost']:.2f} steps", table, "")
    show(LEGEND)
