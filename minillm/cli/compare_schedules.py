"""`minillm batch --compare`: naive, static and continuous batching of the same requests."""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.cli.printing import print_json, seconds_text, show
from minillm.support.wording import counted


def compare(model: Any, lines: list[Any], problems: Any, options: argparse.Namespace) -> int:
    """Run the same requests by each schedule, print steps, times and block utilisation, and return the exit status."""
    from minillm.benchmark.schedules import run_continuous, run_naive, run_static
    from minillm.support.progress import progress_on_stderr

    jobs = _jobs(model, lines, problems, options)
    if not jobs:
        return 2
    schedules: dict[str, Callable[[], Any]] = {
        "naive": lambda: run_naive(model, jobs, options.kv_cache),
        "static": lambda: run_static(model, jobs, options.batch_size, options.kv_cache),
        "continuous": lambda: run_continuous(model, jobs, cache_dtype=options.kv_cache),
    }
    runs = {}
    with progress_on_stderr() as report:
        for done, (name, schedule) in enumerate(schedules.items()):
            report(name, done, len(schedules))
            runs[name] = schedule()
    same = all(run.tokens == runs["naive"].tokens for run in runs.values())
    if options.json:
        record = {"model": options.model, "requests": len(jobs), "batch_size": options.batch_size, "same_tokens": same}
        print_json(record | {name: _record(run) for name, run in runs.items()})
    else:
        _print(runs, len(jobs), same, options)
    return 0


def _jobs(model: Any, lines: list[Any], problems: Any, options: argparse.Namespace) -> list[Any]:
    """Return the lines as requests, each with a seed, so that all schedules sample the same tokens."""
    from minillm.benchmark.schedules import Job
    from minillm.cli.options import encoded
    from minillm.completion import Completion

    jobs = []
    for line in lines:
        sampling = line.sampling
        if sampling.seed is None:
            sampling = dataclasses.replace(sampling, seed=line.number)
        try:
            job = Job(*encoded(model, line, options.raw), sampling)
            Completion.of(model, job.prompt, job.max_new_tokens, sampling)  # refuses a wrong request before any runs
        except ValueError as problem:
            problems.note(line.number, problem)
        else:
            jobs.append(job)
    return jobs


def _record(run: Any) -> dict[str, Any]:
    tokens = sum(map(len, run.tokens))
    return {
        "steps": run.steps,
        "seconds": run.seconds,
        "new_tokens": tokens,
        "tokens_per_s": tokens / run.seconds,
        "mean_latency_s": float(np.mean(run.latencies_s)),
        "p95_latency_s": float(np.percentile(run.latencies_s, 95)),
        "mean_latency_steps": float(np.mean(run.latencies_steps)),
        "p95_latency_steps": float(np.percentile(run.latencies_steps, 95)),
        "block_utilisation": run.block_utilisation,
    }


def _print(runs: dict[str, Any], requests: int, same: bool, options: argparse.Namespace) -> None:
    from rich.table import Table

    records = {name: _record(run) for name, run in runs.items()}
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(counted(requests, "request"), overflow="fold")
    for name in records:
        table.add_column(name, justify="right", overflow="fold")
    rows: dict[str, Callable[[Any], str]] = {
        "steps": lambda r: str(r["steps"]),
        "wall time": lambda r: seconds_text(r["seconds"]),
        "tokens/s": lambda r: f"{r['tokens_per_s']:.1f}",
        "mean latency": lambda r: seconds_text(r["mean_latency_s"]),
        "95th percentile": lambda r: seconds_text(r["p95_latency_s"]),
        "mean latency, steps": lambda r: f"{r['mean_latency_steps']:.1f}",
        "95th percentile, steps": lambda r: f"{r['p95_latency_steps']:.1f}",
        "block utilisation": lambda r: "-" if r["block_utilisation"] is None else f"{r['block_utilisation']:.0%}",
    }
    for title, cell in rows.items():
        table.add_row(title, *(cell(record) for record in records.values()))
    show(
        table,
        "",
        "naive: one request after another, without a cache; each token recomputes the whole sequence.",
        f"static: batches of {options.batch_size}; each ends when its longest request is finished.",
        "continuous: requests join and leave the batch at every step.",
        "Block utilisation: tokens in the cache, divided by the slots reserved for them.",
        "All three give the same tokens." if same else "Their tokens differ: rounding depends on the batch.",
    )
