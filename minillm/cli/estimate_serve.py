"""`minillm estimate serve`: simulate servers on a virtual clock, and compare three schedules."""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from minillm.batching.virtual_engine import VirtualEngine, VirtualStaticBatching
from minillm.cli.estimate_options import (
    asked,
    batch_from,
    check_number,
    config_from,
    doubts,
    serving_from,
    workload_from,
)
from minillm.cli.estimate_views import machine_from
from minillm.cli.printing import print_json, seconds_text, show
from minillm.estimate.arrivals import Arrival, alike, burst_times_s, read_trace
from minillm.estimate.serving import Serving, most_sequences
from minillm.estimate.virtual_clock import Replica, ServingRun, replicas_needed, simulate_serving, step_seconds
from minillm.support.checks import check_integer
from minillm.support.wording import counted

CHUNK, BLOCK = 256, 16  # tokens: of a step with chunked prefill; of a block of the KV cache
STATIC = 32  # requests in a static batch, if they fit into memory
MOST_BLOCKS = 100_000
MOST_PROMPT_TOKENS, MOST_NEW_TOKENS = 20_000_000, 2_000_000  # take some hundred MB and some minutes


def serve(options: argparse.Namespace) -> None:
    """Simulate each schedule, and print times, rates and the replicas needed."""
    config = config_from(options.model)
    serving = serving_from(options, machine_from(options, config), config)
    arrivals, replicas = _arrivals(options), check_integer("--replicas", options.replicas, 1, 1000)
    target = None if options.target is None else check_number("--target", options.target, 1e-6, 1e6)
    makers = _schedules(serving, arrivals, None if options.batch is None else batch_from(options.batch))
    runs = {name: simulate_serving([make() for _ in range(replicas)], arrivals, step_seconds(serving))
            for name, make in makers.items()}  # fmt: skip
    record = _asked(options, serving.machine.name, len(arrivals))
    record["schedules"] = {name: run_record(run) for name, run in runs.items()}
    if target is not None:
        chunked = list(makers.values())[-1]
        record["replicas_needed"] = replicas_needed(chunked, arrivals, step_seconds(serving), target)
    if options.json:
        print_json(record)
    else:
        _show(record, len(arrivals), options)
        longest = max(arrival.prompt + arrival.new_tokens - 1 for arrival in arrivals)
        for line in doubts(options, config, longest):
            show(line)


def _asked(options: argparse.Namespace, gpu: str, requests: int) -> dict[str, Any]:
    """Return the JSON record of what was estimated. With a trace, lengths and rate are None: the trace says them."""
    said = asked(options, gpu, "rps", "burst", "trace", "replicas", "target") | {"gpu": gpu, "requests": requests}
    if options.trace is not None:
        said |= dict.fromkeys(("prompt", "output", "rps", "burst"))
    return said


def _arrivals(options: argparse.Namespace) -> list[Arrival]:
    if options.trace is not None:
        arrivals = _trace(Path(options.trace))
        prompts, answers = (sum(getattr(one, name) for one in arrivals) for name in ("prompt", "new_tokens"))
        _check_tokens(len(arrivals), prompts, answers)
        return arrivals
    workload = workload_from(options, 1)
    if workload.rps is None:
        raise ValueError("serve needs arrivals; expected --rps R, or --trace FILE")
    count = check_integer("--requests", options.requests, 1, 100_000)
    burst = check_integer("--burst", options.burst, 1, 100_000)
    _check_tokens(count, count * workload.prompt, count * workload.output)
    times = burst_times_s(workload.rps, count, burst, np.random.default_rng(0))
    return alike(times, workload.prompt, workload.output)


def _check_tokens(requests: int, prompts: int, answers: int) -> None:
    """Refuse a workload that would take hours, or more memory than the machine has.

    Raises:
        ValueError: there are too many tokens.
    """
    if prompts > MOST_PROMPT_TOKENS or answers > MOST_NEW_TOKENS:
        raise ValueError(f"{requests:,} requests have {prompts:,} tokens of prompts and {answers:,} of answers; "
                         f"expected at most {MOST_PROMPT_TOKENS:,} and {MOST_NEW_TOKENS:,}")  # fmt: skip


def _trace(path: Path) -> list[Arrival]:
    """Read a trace line by line, so that an endless file or one that is not text is refused at its first wrong line."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file; expected a CSV file with the columns at_s,prompt,new_tokens")
    with path.open(encoding="utf-8", newline="") as lines:
        try:
            return read_trace(lines)
        except (UnicodeDecodeError, csv.Error):
            raise ValueError(f"{path} is not text in UTF-8; expected CSV with at_s,prompt,new_tokens") from None


def _schedules(serving: Serving, arrivals: list[Arrival], batch: int | None) -> dict[str, Callable[[], Replica]]:
    """Return functions that make a server, by the name of its schedule."""
    longest = max(arrival.prompt + arrival.new_tokens for arrival in arrivals)
    blocks = min(most_sequences(serving, BLOCK), MOST_BLOCKS)
    if blocks * BLOCK < longest:
        raise ValueError(
            f"a request of {counted(longest, 'token')} does not fit next to the weights; expected a larger GPU or --tp"
        )
    most = most_sequences(serving, longest)
    if batch is not None and batch > most:
        raise ValueError(f"--batch is {batch}; at most {counted(most, 'sequence')} of "
                         f"{counted(longest, 'token')} fit{'s' * (most == 1)} next to the weights")  # fmt: skip
    size = min(STATIC, most) if batch is None else batch
    return {
        f"static batches of {size}": lambda: VirtualStaticBatching(size),
        "continuous, whole prompts": lambda: VirtualEngine(blocks, BLOCK, longest + 1024),
        f"continuous, chunks of {CHUNK}": lambda: VirtualEngine(blocks, BLOCK, CHUNK),
    }


def run_record(run: ServingRun) -> dict[str, Any]:
    """Return the JSON record of a run: seconds at percentiles, rates, and both sides of Little's law."""
    half = len(run.records) // 2
    early, late = float(run.ttft_s[: max(half, 1)].mean()), float(run.ttft_s[half:].mean())
    return {
        "ttft_s": {f"p{p}": float(np.percentile(run.ttft_s, p)) for p in (50, 95, 99)},
        "tpot_s": {f"p{p}": float(np.percentile(run.tpot_s, p)) for p in (50, 95, 99)},
        "latency_s": {f"p{p}": float(np.percentile(run.latency_s, p)) for p in (50, 95, 99)},
        "longest_gap_s": run.longest_gap_s,
        "tokens_per_s": run.tokens_per_s,
        "utilisation": run.utilisation,
        "mean_number": float(run.mean_number),
        "rate_times_latency": len(run.records) / run.span_s * float(run.latency_s.mean()),
        "grows": len(run.records) >= 40 and late > 1.7 * early,  # under a steady overload it is 3 times
    }


def _show(record: dict[str, Any], requests: int, options: argparse.Namespace) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", *record["schedules"]):
        table.add_column(heading, justify="right" if heading else "left", overflow="fold")
    runs = list(record["schedules"].values())
    for title, key in (("first token", "ttft_s"), ("per token", "tpot_s"), ("request", "latency_s")):
        for percentile in ("p50", "p95"):
            table.add_row(f"{title}, {percentile}", *(seconds_text(run[key][percentile]) for run in runs))
    table.add_row("longest pause", *(seconds_text(run["longest_gap_s"]) for run in runs))
    table.add_row("tokens/s", *(f"{run['tokens_per_s']:,.0f}" for run in runs))
    table.add_row("busy", *(f"{run['utilisation']:.0%}" for run in runs))
    table.add_row("requests inside", *(f"{run['mean_number']:.1f}" for run in runs))
    table.add_row("rate · latency", *(f"{run['rate_times_latency']:.1f}" for run in runs))
    source = options.trace or f"{options.rps:g} a second"
    where = f"{options.model} on {record['replicas']} x {record['gpu']}"
    show(f"{where}: {counted(requests, 'request')}, {source}", "", table, "",
         "The mean number of requests inside is rate times mean latency (Little's law).")  # fmt: skip
    growing = [name for name, run in record["schedules"].items() if run["grows"]]
    if growing:
        show(f"No steady state: the wait still grows at the end ({'; '.join(growing)}).")
    if options.target is not None:
        needed = record["replicas_needed"]
        answer = "Not even 64 replicas keep"
        if needed:
            answer = f"{counted(needed, 'replica')} keep{'s' * (needed == 1)}"
        show(f"{answer} 95% of first tokens below {options.target:g} s (continuous, chunks of {CHUNK}).")
