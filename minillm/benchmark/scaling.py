"""How time grows: with the context, the prompt and the batch, and with and without a cache.

A power of the variable is fitted to each curve, and to the times that the machine's limits allow at the same points:
compare the two exponents. (An exponent is the slope of the least-squares line through the logarithms.)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from minillm.benchmark.engine_process import EngineProcess
from minillm.benchmark.limits import Limits
from minillm.config import ModelConfig
from minillm.estimate.units import doubling
from minillm.estimate.work import decode_work, prefill_work
from minillm.support.progress import Report

STEPS = 16  # decode steps after each prompt
BATCH_CONTEXT = 128
NAIVE_PROMPT = 16  # tokens


@dataclass(frozen=True)
class Curve:
    """One figure over one variable, as measured and at the machine's limits."""

    title: str
    variable: str
    points: Sequence[int]
    measured: Sequence[float]
    roofline: Sequence[float]

    def record(self) -> dict[str, Any]:
        """Return the curve for JSON."""
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
    """Points measured one after another; each gives one figure per curve (title, figure at the limits)."""

    variable: str
    points: Sequence[int]
    measure: Callable[[int], tuple[float, ...]]
    curves: Sequence[tuple[str, Callable[[int], float]]]

    def run(self, rounds: int, report: Report) -> Iterator[Curve]:
        """Measure all points in each round, then yield the curves of their medians."""
        runs = []  # [rounds][points][curves]
        for done in range(rounds):
            report(f"measuring over the {self.variable}", done, rounds)
            runs.append([self.measure(point) for point in self.points])
        for number, (title, roofline) in enumerate(self.curves):
            measured = [median(run[index][number] for run in runs) for index in range(len(self.points))]
            yield Curve(title, self.variable, self.points, measured, [roofline(point) for point in self.points])


def measure_scaling(
    engine: EngineProcess,
    config: ModelConfig,
    itemsize: int,
    limits: Limits,
    prompt: Sequence[int],
    rounds: int,
    report: Report,
) -> list[Curve]:
    """Measure all curves; each point is the median of `rounds`.

    Args:
        engine: minillm.
        config: of the model.
        itemsize: bytes of a weight.
        limits: of the machine, measured in the same run.
        prompt: token ids, at least `longest_context(config)`.
        rounds: number of times that each point is measured.
        report: called with the progress.

    Raises:
        ValueError: the engine failed.
    """
    at_limits, longest = AtTheLimits(config, itemsize, limits), longest_context(config)
    sweeps = (
        _over_the_context(engine, at_limits, prompt, longest),
        _over_the_batch(engine, at_limits, prompt[: min(BATCH_CONTEXT, longest)]),
        _over_the_answer(engine, at_limits, prompt[: min(NAIVE_PROMPT, longest)]),
    )
    return [curve for sweep in sweeps for curve in sweep.run(rounds, report)]


def longest_context(config: ModelConfig) -> int:
    """Return the longest prompt of a sweep: 8,192 tokens, or what the context holds next to the decode steps."""
    return min(8192, config.max_position_embeddings - STEPS)


@dataclass(frozen=True)
class AtTheLimits:
    """Seconds that the machine's limits allow. `itemsize`: bytes of a weight and of a cached number."""

    config: ModelConfig
    itemsize: int
    limits: Limits

    def prefill_s(self, tokens: int, logit_rows: int = 1) -> float:
        """Return the seconds of a prompt, with logits after its last `logit_rows` tokens."""
        return self.limits.seconds(prefill_work(self.config, tokens, self.itemsize, self.itemsize, logit_rows))

    def decode_s(self, context: int | float, sequences: int = 1) -> float:
        """Return the seconds of one step of `sequences` sequences, each with `context` tokens."""
        return self.limits.seconds(decode_work(self.config, context, sequences, self.itemsize, self.itemsize))


def _over_the_context(engine: EngineProcess, at_limits: AtTheLimits, prompt: Sequence[int], longest: int) -> Sweep:
    def measure(tokens: int) -> tuple[float, ...]:
        run = engine.generate(prompt[:tokens], STEPS)
        return run.decode_s / STEPS, run.prefill_s

    curves = [("seconds of a decode step", at_limits.decode_s), ("seconds of a prefill", at_limits.prefill_s)]
    return Sweep("context", doubling(64, longest), measure, curves)


def _over_the_batch(engine: EngineProcess, at_limits: AtTheLimits, prompt: Sequence[int]) -> Sweep:
    mean_context = len(prompt) + (STEPS + 1) / 2

    def measure(sequences: int) -> tuple[float, ...]:
        return (sequences * STEPS / engine.generate(prompt, STEPS, sequences).decode_s,)

    curve = ("tokens per second", lambda sequences: sequences / at_limits.decode_s(mean_context, sequences))
    return Sweep("batch", doubling(1, 64), measure, [curve])


def _over_the_answer(engine: EngineProcess, at_limits: AtTheLimits, prompt: Sequence[int]) -> Sweep:
    """Sweep with and without a cache; without one, every token is a prefill of all before it, with logits for each."""
    start, most = len(prompt), min(64, at_limits.config.max_position_embeddings - len(prompt))

    def measure(new_tokens: int) -> tuple[float, ...]:
        request = {"task": "naive", "prompt": list(prompt), "new_tokens": new_tokens}
        cached = engine.generate(prompt, new_tokens - 1)  # the prefill gives one token already
        return engine.figures(request, "seconds")[0], cached.prefill_s + cached.decode_s

    def naive_s(new_tokens: int) -> float:
        return sum(at_limits.prefill_s(length, length) for length in range(start, start + new_tokens))

    def cached_s(new_tokens: int) -> float:
        return at_limits.prefill_s(start) + sum(map(at_limits.decode_s, range(start + 1, start + new_tokens)))

    curves = [("seconds without a cache", naive_s), ("seconds with a cache", cached_s)]
    return Sweep("new tokens", doubling(8, most), measure, curves)


def fitted_exponent(points: Sequence[int], values: Sequence[float]) -> float | None:
    """Return the power of the variable that fits best; None for fewer than two points."""
    if len(points) < 2:
        return None
    return float(np.polyfit(np.log(points), np.log(values), 1)[0])
