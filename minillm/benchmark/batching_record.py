"""The figures of batching as one JSON object, measured in a separate process, round after round."""

import sys
from collections.abc import Sequence
from typing import Any

from minillm.benchmark.engine_process import EngineProcess
from minillm.benchmark.prompt import benchmark_prompt
from minillm.benchmark.run import Plan
from minillm.benchmark.timing import ratios, spread
from minillm.loading import open_checkpoint
from minillm.support.progress import Report

TIMEOUT = 1800  # seconds; 1,000 requests take minutes


def measure_batching(plan: Plan, report: Report) -> dict[str, Any]:
    """Measure decode at each number of sequences, the mixed load and the queue.

    Raises:
        ValueError: the engine failed.
    """
    prompt = benchmark_prompt(open_checkpoint(plan.model), min(plan.contexts))
    command = [sys.executable, "-m", "minillm.benchmark.engine_batching", plan.model, plan.backend, plan.dtype]
    decodes: dict[int, list[list[float]]] = {sequences: [] for sequences in plan.batches}
    mixed, queue = [], []
    with EngineProcess("minillm", command, plan.threads, TIMEOUT) as engine:
        for done in range(plan.rounds):
            report("measuring batching", done, plan.rounds)
            for sequences, figures in decodes.items():
                task = {"task": "decode", "prompts": _rotated(prompt, sequences), "new_tokens": plan.new_tokens}
                figures.append(engine.figures(task, "plain", "paged", "fragmented", "engine"))
            mixed.append(
                engine.figures({"task": "mixed"}, "static_s", "continuous_s", "static_steps", "continuous_steps")
            )
            queue.append(engine.figures({"task": "queue"}, "total_s", "outside_forward_s"))
    return {
        "decode": [_decode_record(sequences, figures) for sequences, figures in decodes.items()],
        "mixed": _mixed_record(mixed),
        "queue": _queue_record(queue),
    }


def _rotated(prompt: Sequence[int], sequences: int) -> list[list[int]]:
    """Return different prompts of equal length: each begins at another token."""
    starts = (number % len(prompt) for number in range(sequences))
    return [[*prompt[start:], *prompt[:start]] for start in starts]


def _decode_record(sequences: int, figures: Sequence[Sequence[float]]) -> dict[str, Any]:
    plain, paged, fragmented, engine = zip(*figures, strict=True)
    return {
        "sequences": sequences,
        "plain_tokens_per_s": spread([sequences / step for step in plain]).record(),
        "engine_tokens_per_s": spread([sequences / step for step in engine]).record(),
        "engine_times_plain": ratios(plain, engine).record(),
        "paged_times_as_long": ratios(paged, plain).record(),
        "fragmented_times_as_long": ratios(fragmented, plain).record(),
    }


def _mixed_record(figures: Sequence[Sequence[float]]) -> dict[str, Any]:
    static_s, continuous_s, static_steps, continuous_steps = zip(*figures, strict=True)
    return {
        "static_s": spread(static_s).record(),
        "continuous_s": spread(continuous_s).record(),
        "times_sooner": ratios(static_s, continuous_s).record(),
        "static_steps": int(static_steps[0]),
        "continuous_steps": int(continuous_steps[0]),
    }


def _queue_record(figures: Sequence[Sequence[float]]) -> dict[str, Any]:
    total, outside = zip(*figures, strict=True)
    return {"total_s": spread(total).record(), "share_outside_forward": ratios(outside, total).record()}
