"""One run of `minillm bench`: start the engines, measure, and end them in any case."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from minillm.benchmark.engine_process import EngineProcess
from minillm.benchmark.engines import Launch, launch_minillm, launch_peers
from minillm.benchmark.limits import Limits
from minillm.benchmark.prompt import benchmark_prompt
from minillm.benchmark.record import make_record
from minillm.benchmark.rounds import Figures, measure_rounds
from minillm.benchmark.scaling import longest_context, measure_scaling
from minillm.benchmark.startup import startup_seconds
from minillm.benchmark.timing import spread
from minillm.loading import open_checkpoint
from minillm.loading.load import backend_and_dtype
from minillm.support.progress import Report
from minillm.support.wording import counted


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        model, backend, dtype: as in `minillm.load`.
        against: names of peers.
        threads: of every engine.
        contexts: prompt lengths; decode is measured after each, prefill at the longest, batches at the shortest.
        batches: numbers of sequences that decode at once.
        new_tokens: decode steps of each measurement.
        rounds: number of times that everything is measured.
        scaling: whether to measure how time grows as well.
    """

    model: str
    backend: str
    dtype: str
    against: Sequence[str]
    threads: int
    contexts: Sequence[int]
    batches: Sequence[int]
    new_tokens: int
    rounds: int
    scaling: bool


def run_benchmark(plan: Plan, report: Report) -> dict[str, Any]:
    """Measure everything.

    Raises:
        ValueError: the plan does not fit the model, or an engine failed.
        OSError: a file cannot be read or written.
    """
    checkpoint, (_, dtype) = open_checkpoint(plan.model), backend_and_dtype(plan.backend, plan.dtype)
    config = checkpoint.config
    needed, holds = max(plan.contexts) + plan.new_tokens, config.max_position_embeddings
    if needed > holds:
        raise ValueError(
            f"--context and --new-tokens make {counted(needed, 'token')}; the model's context holds {holds}"
        )
    prompt = benchmark_prompt(checkpoint, max(needed, longest_context(config)))
    runs = [(context, 1) for context in plan.contexts] + [(min(plan.contexts), batch) for batch in plan.batches]
    with ExitStack() as stack:
        launches = [launch_minillm(plan.model, plan.backend, plan.dtype)]
        launches += stack.enter_context(launch_peers(plan.against, plan.model, plan.threads, report))
        startups = _startups(launches, plan, report)
        commands = {"machine": [sys.executable, "-m", "minillm.benchmark.machine", str(dtype)]}
        commands |= {launch.name: list(launch.command) for launch in launches}
        machine, *engines = (
            stack.enter_context(EngineProcess(name, command, plan.threads)) for name, command in commands.items()
        )
        figures = measure_rounds(machine, engines, prompt, runs, plan.new_tokens, plan.rounds, report)
        curves = []
        if plan.scaling:
            limits = _median_limits(figures)
            curves = measure_scaling(engines[0], config, dtype.itemsize, limits, prompt, plan.rounds, report)
    record = make_record(config, dtype.itemsize, figures, startups, plan.new_tokens)
    setting = {"model": plan.model, "backend": plan.backend, "dtype": str(dtype), "threads": plan.threads}
    return setting | record | {"scaling": [curve.record() for curve in curves]}


def _startups(launches: Sequence[Launch], plan: Plan, report: Report) -> dict[str, list[tuple[float, float]]]:
    """Measure the seconds of import and load of every engine, in turn."""
    startups: dict[str, list[tuple[float, float]]] = {launch.name: [] for launch in launches}
    for done in range(plan.rounds):
        report("starting and ending", done, plan.rounds)
        for launch in launches:
            startups[launch.name].append(startup_seconds(launch, plan.threads))
    return startups


def _median_limits(figures: Figures) -> Limits:
    bandwidth, matmul = ([getattr(one, name) for one in figures.limits] for name in ("bandwidth", "matmul"))
    return Limits(spread(bandwidth).median, spread(matmul).median)
