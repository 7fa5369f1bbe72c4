"""`minillm bench`: tokens/s of each phase, compared with the machine's limits and with peers in the same run."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minillm.cli.options import add_cache_option, add_model_options, cache_dtype_from, check_plot_file
from minillm.cli.printing import print_json
from minillm.support.checks import check_integer

CONTEXTS, BATCHES = "128,512", "8,32"  # the defaults of --context and --batch


def add_parser(commands: Any) -> None:
    """Add `bench` with its own options and those of the model."""
    parser = commands.add_parser(
        "bench",
        help="measure speed",
        description="Measure speed, and compare it with the machine's limits and with peers.",
    )
    add = parser.add_argument
    add("--against", default="", metavar="PEERS", help="also measure these peers: transformers,llama.cpp")
    add("--context", default=CONTEXTS, metavar="N,...", help="tokens of the prompts (default 128,512)")
    add("--batch", default=BATCHES, metavar="B,...", help="sequences of the batches that decode (default 8,32)")
    add("--new-tokens", type=int, default=32, metavar="N", help="decode steps of each measurement (default 32)")
    add("--rounds", type=int, default=5, metavar="R", help="rounds, in which the engines take turns (default 5)")
    add("--threads", type=int, metavar="N", help="threads of every engine (default: the environment's, or all cores)")
    add("--scaling", action="store_true", help="also measure how time grows with context, prompt and batch (minutes)")
    add("--speculative", action="store_true", help="instead, compare speculative decoding with plain decoding")
    add("--exact", action="store_true", help="also measure how much slower the exact backend is")
    add("--batching", action="store_true", help="also compare the engine with a plain loop on whole loads (minutes)")
    add("--plot", metavar="FILE.svg", help="draw each phase against its limit")
    add_cache_option(parser)
    add_model_options(parser, "smollm2", "; several, with commas between them, are compared with each other")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, draw the plot if asked for, and print."""
    if options.speculative:
        from minillm.cli.bench_speculation import run_speculation

        _check_only_speculative(options)
        return run_speculation(options)
    from minillm.benchmark.run import run_benchmark
    from minillm.support.progress import progress_on_stderr

    plan = _plan(options)
    check_plot_file(options.plot)
    _check_only_float32(options, plan)
    if options.exact and options.backend == "exact":
        raise ValueError("--exact compares another backend with this one; expected --backend numpy, plain or compiled")
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
    _print(record, options.json)
    return 0


def _print(record: dict[str, Any], as_json: bool) -> None:
    """Print the record of one format, or of several, as JSON or as tables."""
    if as_json:
        print_json(record)
    elif "formats" in record:
        from minillm.cli.bench_formats import print_formats

        print_formats(record)
    else:
        from minillm.cli.bench_tables import print_record

        print_record(record)


def _check_only_speculative(options: argparse.Namespace) -> None:
    """Refuse options that --speculative ignores: it measures in this process, whose threads are fixed already.

    Raises:
        ValueError: one of them is given.
    """
    others = ("against", "threads", "scaling", "exact", "batching", "plot", "context", "batch", "kv_cache")
    given = [name for name in others if getattr(options, name) not in ("", None, False, CONTEXTS, BATCHES)]
    if given:
        option = given[0].replace("_", "-")
        raise ValueError(f"--speculative measures only that; leave out --{option}, or run it without --speculative")


def _check_only_float32(options: argparse.Namespace, plan: Any) -> None:
    """Refuse options that measure float32 alone.

    Raises:
        ValueError: one of them is given with another format of the weights or of the caches.
    """
    others = ["--weights"] * (plan.weights != ["float32"]) + ["--kv-cache"] * (plan.cache_dtype is not None)
    for name in ("scaling", "exact", "batching"):
        if getattr(options, name) and others:
            raise ValueError(f"--{name} is measured in float32 only; leave out {others[0]}, or run it without --{name}")


def _plan(options: argparse.Namespace) -> Any:
    """Return what is to be measured. Wrong names are refused here, before any model is fetched."""
    from minillm.backends.threads import default_threads
    from minillm.benchmark.engines import check_installed
    from minillm.benchmark.run import Plan
    from minillm.loading.load import backend_and_dtype

    against = _names(options.against)
    for name in against:
        check_installed(name)
    ops, _ = backend_and_dtype(options.backend, options.dtype)
    cache_dtype = cache_dtype_from(options)
    if cache_dtype and not ops.int8_caches:
        raise ValueError(f"the {ops.name} backend reads caches of floats only; leave out --kv-cache")
    weights = _weights(options.weights, ops, against)
    return Plan(
        model=options.model,
        backend=options.backend,
        dtype=options.dtype,
        weights=weights,
        against=against,
        threads=default_threads() if options.threads is None else check_integer("--threads", options.threads, 1, 4096),
        contexts=_numbers("--context", options.context, 1_000_000),
        batches=_numbers("--batch", options.batch, 1024),
        new_tokens=check_integer("--new-tokens", options.new_tokens, 1, 1_000_000),
        rounds=check_integer("--rounds", options.rounds, 1, 1000),
        scaling=options.scaling,
        cache_dtype=cache_dtype,
    )


def _weights(text: str, ops: Any, against: Sequence[str]) -> list[str]:
    """Return the formats that --weights names.

    Raises:
        ValueError: the backend lacks one, or a peer has none of them.
    """
    from minillm.benchmark.engines import FORMATS
    from minillm.loading.gguf.write import TYPES
    from minillm.support.checks import check_choice

    weights = _names(text) or [text]  # none: refused below
    known = [name for name in TYPES if name in ops.formats]  # the formats that a peer can be given
    for name in weights:
        check_choice(f"the {ops.name} backend: --weights", name, known)
    for name in against:
        if not set(weights) & set(FORMATS[name]):
            raise ValueError(f"{name} is measured in {', '.join(FORMATS[name])}; add that to --weights")
    return weights


def _names(text: str) -> list[str]:
    """Return `a, b,a` as ["a", "b"]: in the order given, without duplicates."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _exact_cost(plan: Any) -> dict[str, Any]:
    """Compare the exact backend with the plan's own, in this process, in alternating rounds."""
    from minillm.benchmark.exact_cost import exact_cost
    from minillm.loading.load import load

    model, exact = load(plan.model, plan.backend, plan.dtype), load(plan.model, "exact")
    return exact_cost(model, exact, max(plan.contexts), plan.new_tokens, plan.rounds)


def _numbers(option: str, text: str, most: int) -> list[int]:
    """Return `512,128,128` as [128, 512]: sorted, without duplicates.

    Raises:
        ValueError: one of them is not an integer from 1 to `most`.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"{option} is {text[:40]!r}; expected integers separated by commas, such as 8,32")
    return sorted({check_integer(option, int(part), 1, most) for part in parts})
