"""The figures of a run as one JSON object: medians and spread, fractions of the machine's limits, ratios to peers."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from minillm.benchmark.limits import Limits
from minillm.benchmark.rounds import Figures, Phase
from minillm.benchmark.timing import ratios, spread
from minillm.config import ModelConfig
from minillm.estimate.units import Number
from minillm.estimate.work import decode_work, prefill_work

PACKAGES = {"minillm": "minillm-numpy", "transformers": "transformers", "llama.cpp": "llama-cpp-python"}


def make_record(
    config: ModelConfig,
    weight_bytes: float,
    figures: Figures,
    startups: Mapping[str, Sequence[tuple[float, float]]],
    new_tokens: int,
    cache_bytes: Number = 4,
) -> dict[str, Any]:
    """Return everything that was measured.

    Args:
        config: of the model.
        weight_bytes: of one weight in minillm.
        figures: of all rounds.
        startups: seconds of import and load, by engine.
        new_tokens: decode steps of a measurement.
        cache_bytes: of one number in a cache of minillm, its share of a scale included.
    """
    ours, *peers = figures.rates
    phases = sorted(figures.rates[ours], key=lambda phase: phase.kind != "prefill")

    def at_limits(phase: Phase) -> list[float]:
        return [roofline_rate(config, weight_bytes, cache_bytes, phase, new_tokens, each) for each in figures.limits]

    return {
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "date": date.today().isoformat()},
        "bandwidth_bytes_per_s": spread([limits.bandwidth for limits in figures.limits]).record(),
        "matmul_flops_per_s": spread([limits.matmul for limits in figures.limits]).record(),
        "phases": [_phase_record(figures, phase, at_limits(phase)) for phase in phases],
        "engines": {name: _engine_record(name, figures, startups[name]) for name in figures.rates},
        "beyond_products_us_per_layer": spread([1e6 * s for s in figures.beyond_products_s]).record(),
        "same_tokens": {peer: _compared_tokens(figures.tokens[ours], figures.tokens[peer]) for peer in peers},
    }


def _phase_record(figures: Figures, phase: Phase, roofline: Sequence[float]) -> dict[str, Any]:
    ours, *peers = figures.rates
    rates = figures.rates[ours][phase]
    return {
        "phase": phase.title,
        "tokens_per_s": {name: spread(one[phase]).record() for name, one in figures.rates.items()},
        "roofline_tokens_per_s": spread(roofline).record(),
        "share_of_roofline": ratios(rates, roofline).record(),
        "times_peer": {peer: ratios(rates, figures.rates[peer][phase]).record() for peer in peers},
    }


def roofline_rate(
    config: ModelConfig, weight_bytes: float, cache_bytes: Number, phase: Phase, new_tokens: int, limits: Limits
) -> float:
    """Return the tokens per second at the machine's limits; decode has the mean context of its steps."""
    if phase.kind == "prefill":
        return phase.context / limits.seconds(prefill_work(config, phase.context, weight_bytes, cache_bytes))
    context = phase.context + (new_tokens + 1) / 2
    return phase.sequences / limits.seconds(decode_work(config, context, phase.sequences, weight_bytes, cache_bytes))


def _engine_record(name: str, figures: Figures, startups: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {
        "version": _version(name),
        "import_s": spread([import_s for import_s, _ in startups]).record(),
        "load_s": spread([load_s for _, load_s in startups]).record(),
        "peak_memory_bytes": figures.peak_memory_bytes[name],
    }


def _compared_tokens(ours: Mapping[int, Sequence[int]], theirs: Mapping[int, Sequence[int]]) -> dict[str, Any]:
    """Return the number of greedy tokens compared, and the first that differs, if one does."""
    for context in ours:
        for place, (our_token, their_token) in enumerate(zip(ours[context], theirs[context], strict=True)):
            if our_token != their_token:
                difference = {"context": context, "place": place, "ours": our_token, "theirs": their_token}
                return {"compared": sum(map(len, ours.values())), "first_difference": difference}
    return {"compared": sum(map(len, ours.values())), "first_difference": None}


def processor_name() -> str:
    """Return the processor's name as the system calls it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(engine: str) -> str:
    try:
        return version(PACKAGES.get(engine, engine))
    except PackageNotFoundError:
        return "not installed"
