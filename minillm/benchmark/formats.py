"""Memory and speed of a model in several formats of its weights, each in a process of its own."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from minillm.backends.threads import default_threads
from minillm.benchmark.engine_process import EngineProcess
from minillm.benchmark.timing import Spread, spread
from minillm.support.progress import Report

PROMPT, STEPS, ROUNDS = 64, 16, 3  # tokens of the prompt, decode steps of a measurement, and measurements


@dataclass(frozen=True)
class Cost:
    """What a format costs.

    Attributes:
        resident_bytes: how much the memory of a process grows when it loads the model.
        tokens_per_s: decoded, one sequence.
    """

    resident_bytes: float
    tokens_per_s: Spread


def measure_formats(model: str, backend: str, formats: Sequence[str], report: Report) -> dict[str, Cost]:
    """Load the model once for each format; then decode in turns, so that other load affects all formats alike.

    Raises:
        ValueError: a process failed.
    """
    memory: dict[str, float] = {}
    rates: dict[str, list[float]] = {weights: [] for weights in formats}
    with ExitStack() as stack:
        engines: dict[str, EngineProcess] = {}
        for done, weights in enumerate(formats):
            report(f"loading in {weights}", done, len(formats))
            command = [sys.executable, "-m", "minillm.benchmark.engine_format", model, backend, weights]
            engine = stack.enter_context(EngineProcess(f"{model} in {weights}", command, default_threads()))
            [memory[weights]], engines[weights] = engine.figures({"task": "memory"}, "resident_bytes"), engine
        for done in range(ROUNDS * len(formats)):
            weights = formats[done % len(formats)]
            report(f"decoding in {weights}", done, ROUNDS * len(formats))
            rates[weights].append(STEPS / engines[weights].generate([1] * PROMPT, STEPS).decode_s)
    return {weights: Cost(memory[weights], spread(rates[weights])) for weights in formats}
