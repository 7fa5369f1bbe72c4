"""How time grows: with the context, the prompt and the batch, and with and without a cache.

Each curve is fitted by a power of its variable, and so is what the machine's limits allow at the same points: the two
exponents belong together. (The slope of the straight line through their logarithms, by least squares.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from minillm.benchmark.engine_process import EngineProcess
from minillm.benchmark.limits import Limits
from minillm.config import ModelConfig
from minillm.estimate.units import doubling
from minillm.estimate.work import decode_work, prefill_work
from minillm.loading.progress import Report

STEPS = 16  # decode steps behind each prompt
BATCH_CONTEXT = 128
NAIVE_PROMPT = 16  # tokens


@dataclass(frozen=True)
class Curve:
    """One figure over one variable, measured and at the machine's limits."""

    title: str
    variable: str
    points: Sequence[int]
    measured: Sequence[float]
    roofline: Sequence[float]

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "title": self.title,
            "variable": self.variable,
            "points": list(self.points),
            "measured": list(self.measured),
            "roofline": list(self.roofline),
            "exponent": fitted_exponent(self.points, self.measured),
            "expected_exponent": fitted_exponent(self.points, self.roofline),
        }


@dataclass(frozen=True)
class Sweep:
    """Points measured one after another; each gives a figure for each of the curves (title, figure at the limits)."""

    variable: str
    points: Sequence[int]
    measure: Callable[[int], tuple[float, ...]]
    curves: Sequence[tuple[str, Callable[[int], float]]]


def measure_scaling(
    engine: EngineProcess,
    config: ModelConfig,
    itemsize: int,
    limits: Limits,
    prompt: Sequence[int],
    rounds: int,
    report: Report,
) -> list[Curve]:
    """All curves; each point is the median of `rounds`.

    Args:
        engine: ours.
        config: of the model.
        itemsize: bytes of a weight.
        limits: of the machine, measured in the same run.
        prompt: token ids, as many as the longest context; `longest_context` says how many.
        rounds: how often each point is measured.
        report: called with the progress.

    Raises:
        ValueError: the engine failed.
    """
    curves = []
    for sweep in _sweeps(engine, config, itemsize, limits, prompt):
        runs = []  # [rounds][points][curves]
        for done in range(rounds):
            report(f"measuring over the {sweep.variable}", done, rounds)
            runs.append([sweep.measure(point) for point in sweep.points])
        for number, (title, roofline) in enumerate(sweep.curves):
            measured = [median(run[place][number] for run in runs) for place in range(len(sweep.points))]
            at_limits = [roofline(point) for point in sweep.points]
            curves.append(Curve(title, sweep.variable, sweep.points, measured, at_limits))
    return curves


def longest_context(config: ModelConfig) -> int:
    """The longest prompt of a sweep: 8,192 tokens, or what the model's context holds beside the decode steps."""
    return min(8192, config.max_position_embeddings - STEPS)


def _sweeps(
    engine: EngineProcess, config: ModelConfig, itemsize: int, limits: Limits, prompt: Sequence[int]
) -> list[Sweep]:
    longest = longest_context(config)
    batch_prompt, naive_prompt = prompt[: min(BATCH_CONTEXT, longest)], list(prompt[: min(NAIVE_PROMPT, longest)])

    def prefill_s(tokens: int, logit_rows: int = 1) -> float:
        return limits.seconds(prefill_work(config, tokens, itemsize, itemsize, logit_rows))

    def decode_s(context: int | float, sequences: int = 1) -> float:
        return limits.seconds(decode_work(config, context, sequences, itemsize, itemsize))

    def long_prompt(tokens: int) -> tuple[float, ...]:
        run = engine.generate(prompt[:tokens], STEPS)
        return run.decode_s / STEPS, run.prefill_s

    def batch(sequences: int) -> tuple[float, ...]:
        return (sequences * STEPS / engine.generate(batch_prompt, STEPS, sequences).decode_s,)

    def naive_and_cached(new_tokens: int) -> tuple[float, ...]:
        request = {"task": "naive", "prompt": naive_prompt, "new_tokens": new_tokens}
        cached = engine.generate(naive_prompt, new_tokens - 1)  # the prefill gives one token already
        return engine.figures(request, "seconds")[0], cached.prefill_s + cached.decode_s

    def naive_s(new_tokens: int) -> float:
        lengths = range(len(naive_prompt), len(naive_prompt) + new_tokens)
        return sum(prefill_s(length, length) for length in lengths)  # with logits after every token

    def cached_s(new_tokens: int) -> float:
        start = len(naive_prompt)
        return prefill_s(start) + sum(decode_s(length) for length in range(start + 1, start + new_tokens))

    return [
        Sweep(
            "context",
            doubling(64, longest),
            long_prompt,
            [("seconds of a decode step", decode_s), ("seconds of a prefill", prefill_s)],
        ),
        Sweep(
            "batch",
            doubling(1, 64),
            batch,
            [("tokens per second", lambda n: n / decode_s(len(batch_prompt) + (STEPS + 1) / 2, n))],
        ),
        Sweep(
            "new tokens",
            doubling(8, min(64, config.max_position_embeddings - len(naive_prompt))),
            naive_and_cached,
            [("seconds without a cache", naive_s), ("seconds with a cache", cached_s)],
        ),
    ]


def fitted_exponent(points: Sequence[int], values: Sequence[float]) -> float | None:
    """The power of the variable that fits best; None for fewer than two points."""
    if len(points) < 2:
        return None
    return float(np.polyfit(np.log(points), np.log(values), 1)[0])
