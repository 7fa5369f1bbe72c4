"""`minillm bench`: tokens per second of each phase beside the machine's limits and beside peers, in the same run."""

import argparse
from pathlib import Path
from typing import Any

from minillm.cli.options import add_model_options, check_plot_file
from minillm.cli.printing import print_json
from minillm.support.checks import check_integer

CONTEXTS, BATCHES = "128,512", "8,32"  # by default


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "bench", help="measure speed", description="Measure speed beside the machine's limits and beside peers."
    )
    add = parser.add_argument
    add("--against", default="", metavar="PEERS", help="also measure these: transformers,llama.cpp")
    add("--context", default=CONTEXTS, metavar="N,...", help="prompt tokens (default 128,512)")
    add("--batch", default=BATCHES, metavar="B,...", help="sequences in batched decode (default 8,32)")
    add("--new-tokens", type=int, default=32, metavar="N", help="decode steps of each measurement (default 32)")
    add("--rounds", type=int, default=5, metavar="R", help="alternating rounds (default 5)")
    add("--threads", type=int, metavar="N", help="threads of every engine (default: the environment's, or all cores)")
    add("--scaling", action="store_true", help="also measure how time grows with context, prompt and batch; minutes")
    add("--speculative", action="store_true", help="measure speculative decoding beside plain decoding, and only that")
    add("--exact", action="store_true", help="also measure what the exact backend costs")
    add("--batching", action="store_true", help="also measure the engine beside a plain loop, and whole loads; minutes")
    add("--plot", metavar="FILE.svg", help="draw each phase against its limit")
    add_model_options(parser, "smollm2")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    if options.speculative:
        from minillm.cli.bench_speculation import run_speculation

        _check_only_speculative(options)
        return run_speculation(options)
    from minillm.benchmark.run import run_benchmark
    from minillm.support.progress import progress_on_stderr

    plan = _plan(options)
    check_plot_file(options.plot)
    if options.exact and options.backend == "exact":
        raise ValueError("--exact compares another backend with the exact one; expected --backend numpy or plain")
    with progress_on_stderr() as progress:
        record = run_benchmark(plan, progress)
        if options.batching:
            from minillm.benchmark.batching_record import measure_batching

            record["batching"] = measure_batching(plan, progress)
    if options.exact:
        record["exact"] = _exact_cost(plan)
    if options.plot:
        from minillm.benchmark.plot import phases_svg

        Path(options.plot).write_text(phases_svg(record), encoding="utf-8")
    if options.json:
        print_json(record)
    else:
        from minillm.cli.bench_tables import print_record

        print_record(record)
    return 0


def _check_only_speculative(options: argparse.Namespace) -> None:
    """It measures in this process, whose threads are fixed already, and nothing but itself."""
    others = ("against", "threads", "scaling", "exact", "batching", "plot", "context", "batch")
    given = [name for name in others if getattr(options, name) not in ("", None, False, CONTEXTS, BATCHES)]
    if given:
        raise ValueError(f"--speculative measures only that; leave --{given[0]} out, or measure it by itself")


def _plan(options: argparse.Namespace) -> Any:
    from minillm.backends.threads import default_threads
    from minillm.benchmark.run import Plan

    return Plan(
        model=options.model,
        backend=options.backend,
        dtype=options.dtype,
        against=list(dict.fromkeys(name.strip() for name in options.against.split(",") if name.strip())),
        threads=default_threads() if options.threads is None else check_integer("--threads", options.threads, 1, 4096),
        contexts=_numbers("--context", options.context, 1_000_000),
        batches=_numbers("--batch", options.batch, 1024),
        new_tokens=check_integer("--new-tokens", options.new_tokens, 1, 1_000_000),
        rounds=check_integer("--rounds", options.rounds, 1, 1000),
        scaling=options.scaling,
    )


def _exact_cost(plan: Any) -> dict[str, Any]:
    """The exact backend beside the plan's own, in this process, in alternating rounds."""
    from minillm.benchmark.exact_cost import exact_cost
    from minillm.loading.load import load

    model, exact = load(plan.model, plan.backend, plan.dtype), load(plan.model, "exact")
    return exact_cost(model, exact, max(plan.contexts), plan.new_tokens, plan.rounds)


def _numbers(option: str, text: str, most: int) -> list[int]:
    """`128,512` as [128, 512], sorted and each once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"{option} is {text[:40]!r}; expected whole numbers with commas between, such as 8,32")
    return sorted({check_integer(option, int(part), 1, most) for part in parts})
