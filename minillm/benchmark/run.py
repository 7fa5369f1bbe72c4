"""One run of `minillm bench`: start the engines, measure, and end them in any case."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from minillm.benchmark.engine_process import EngineProcess
from minillm.benchmark.engines import Launch, launch_minillm, launch_peers
from minillm.benchmark.format_record import join_formats
from minillm.benchmark.limits import Limits
from minillm.benchmark.prompt import benchmark_prompt
from minillm.benchmark.record import make_record
from minillm.benchmark.rounds import Figures, measure_rounds
from minillm.benchmark.scaling import longest_context, measure_scaling
from minillm.benchmark.small_model import measure_small_model
from minillm.benchmark.startup import startup_seconds
from minillm.benchmark.timing import spread
from minillm.benchmark.verification import measure_verification
from minillm.estimate.memory import find_cache_format
from minillm.estimate.units import Number
from minillm.loading import Checkpoint, open_checkpoint
from minillm.loading.load import backend_and_dtype, weights_bytes
from minillm.support.progress import Report
from minillm.support.wording import counted


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        model, backend, dtype: as in `minillm.load`.
        weights: formats of the weights; each is compared with the peers' own.
        against: names of peers.
        threads: of every engine.
        contexts: prompt lengths; decode is measured after each, prefill at the longest, batches at the shortest.
        batches: numbers of sequences that decode at once.
        new_tokens: decode steps of each measurement.
        rounds: number of times that everything is measured.
        scaling: whether to measure how time grows as well.
        cache_dtype: of minillm's keys and values, as in `KVCache`. Peers keep their own.
    """

    model: str
    backend: str
    dtype: str
    weights: Sequence[str]
    against: Sequence[str]
    threads: int
    contexts: Sequence[int]
    batches: Sequence[int]
    new_tokens: int
    rounds: int
    scaling: bool
    cache_dtype: str | None = None


def run_benchmark(plan: Plan, report: Report) -> dict[str, Any]:
    """Measure everything.

    Raises:
        ValueError: the plan does not fit the model, or an engine failed.
        OSError: a file cannot be read or written.
    """
    checkpoint, (_, dtype) = open_checkpoint(plan.model), backend_and_dtype(plan.backend, plan.dtype)
    prompt = benchmark_prompt(checkpoint, max(_tokens_needed(plan, checkpoint), longest_context(checkpoint.config)))
    runs = [(context, 1) for context in plan.contexts] + [(min(plan.contexts), batch) for batch in plan.batches]
    setting = {"model": plan.model, "backend": plan.backend, "dtype": str(dtype), "threads": plan.threads}
    setting["kv_cache"] = plan.cache_dtype or str(dtype)
    with ExitStack() as stack:
        launches = {weights: stack.enter_context(_launches(plan, weights, report)) for weights in plan.weights}
        startups = _startups(launches, plan, report)
        machine, groups = _processes(launches, str(dtype), plan.threads, stack)
        figures = measure_rounds(machine, groups, prompt, runs, plan.new_tokens, plan.rounds, report)
        records = _records(plan, checkpoint, figures, startups)
        ours = {weights: engines[0] for weights, engines in groups.items()}
        if len(plan.weights) > 1:
            return setting | _of_formats(plan, records, ours, prompt[: min(plan.contexts)], report)
        [weights] = plan.weights
        curves = []
        if plan.scaling:
            config, limits = checkpoint.config, _median_limits(figures[weights])
            curves = measure_scaling(ours[weights], config, dtype.itemsize, limits, prompt, plan.rounds, report)
    return setting | {"weights": weights} | records[weights] | {"scaling": [curve.record() for curve in curves]}


def _tokens_needed(plan: Plan, checkpoint: Checkpoint) -> int:
    """Return the tokens of the longest sequence.

    Raises:
        ValueError: the model's context holds fewer.
    """
    needed, holds = max(plan.contexts) + plan.new_tokens, checkpoint.config.max_position_embeddings
    if needed > holds:
        raise ValueError(
            f"--context and --new-tokens make {counted(needed, 'token')}; the model's context holds {holds}"
        )
    return needed


def _processes(
    launches: Mapping[str, Sequence[Launch]], dtype: str, threads: int, stack: ExitStack
) -> tuple[EngineProcess, dict[str, list[EngineProcess]]]:
    """Start the process that measures the machine, and the engines of each format. `stack` ends them."""
    command = [sys.executable, "-m", "minillm.benchmark.machine", dtype]
    machine = stack.enter_context(EngineProcess("machine", command, threads))
    groups = {
        weights: [stack.enter_context(EngineProcess(each.name, each.command, threads)) for each in group]
        for weights, group in launches.items()
    }
    return machine, groups


def _records(
    plan: Plan, checkpoint: Checkpoint, figures: Mapping[str, Figures], startups: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the record of each format. The bytes of a weight are the mean: int4 keeps embedding and head in int8."""
    ops, dtype = backend_and_dtype(plan.backend, plan.dtype)
    cache_bytes: Number = dtype.itemsize
    if plan.cache_dtype:
        cache_bytes = find_cache_format(plan.cache_dtype, checkpoint.config).bytes_each
    numbers = sum(math.prod(tensor.shape) for tensor in checkpoint.tensors.values())
    records = {}
    for weights, found in figures.items():
        mean_bytes = weights_bytes(checkpoint, ops, plan.dtype, weights) / numbers
        records[weights] = make_record(
            checkpoint.config, mean_bytes, found, startups[weights], plan.new_tokens, cache_bytes
        )
    return records


@contextmanager
def _launches(plan: Plan, weights: str, report: Report) -> Iterator[list[Launch]]:
    """Yield how minillm and its peers are started with weights in this format."""
    with launch_peers(plan.against, plan.model, plan.threads, report, weights) as peers:
        yield [launch_minillm(plan.model, plan.backend, plan.dtype, weights, plan.cache_dtype), *peers]


def _of_formats(
    plan: Plan, records: dict[str, Any], engines: Mapping[str, EngineProcess], prompt: Sequence[int], report: Report
) -> dict[str, Any]:
    """Return what is measured if there are several formats: their records, verification, and a small model."""
    costs = measure_verification(engines, prompt, plan.rounds, report)
    small = measure_small_model(plan.backend, plan.threads, plan.new_tokens, plan.rounds, report)
    return join_formats(records) | {"verification": costs, "small_model": small}


def _startups(
    launches: Mapping[str, Sequence[Launch]], plan: Plan, report: Report
) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Measure the seconds of import and load of every engine, in turn."""
    startups: dict[str, dict[str, list[tuple[float, float]]]] = {weights: {} for weights in launches}
    for done in range(plan.rounds):
        report("starting and ending", done, plan.rounds)
        for weights, group in launches.items():
            for launch in group:
                startups[weights].setdefault(launch.name, []).append(startup_seconds(launch, plan.threads))
    return startups


def _median_limits(figures: Figures) -> Limits:
    bandwidth, matmul = ([getattr(one, name) for one in figures.limits] for name in ("bandwidth", "matmul"))
    return Limits(spread(bandwidth).median, spread(matmul).median)
