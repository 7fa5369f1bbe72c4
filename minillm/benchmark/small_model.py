"""The bundled model on a backend and on `numpy`: one sequence, and 16 sequences while two other processes are busy.

A small model mostly waits for many small calls and for threads that wake up, not for memory. So it shows what a
backend costs besides its arithmetic, and what happens if other work takes the processors away.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from minillm.benchmark.engine_process import EngineProcess
from minillm.benchmark.engines import launch_minillm
from minillm.benchmark.prompt import benchmark_prompt
from minillm.benchmark.timing import spread
from minillm.loading import open_checkpoint
from minillm.support.progress import Report

MODEL, CONTEXT = "story", 128
SEQUENCES, STEPS = 16, 8  # under load
BUSY = 2  # other processes


def measure_small_model(
    backend: str, threads: int, new_tokens: int, rounds: int, report: Report
) -> dict[str, Any] | None:
    """Return the seconds a token on both backends and their ratios; None if the backend is `numpy` itself.

    Raises:
        ValueError: an engine failed.
    """
    if backend == "numpy":
        return None
    prompt = benchmark_prompt(open_checkpoint(MODEL), CONTEXT)
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(EngineProcess(name, launch_minillm(MODEL, name).command, threads))
            for name in (backend, "numpy")
        }
        alone = _rounds(engines, prompt, min(new_tokens, CONTEXT), 1, rounds, report)
        with busy_processes(BUSY):
            loaded = _rounds(engines, prompt, STEPS, SEQUENCES, rounds, report)
    return {"model": MODEL, "one_sequence": _compared(alone), "under_load": _compared(loaded)}


def _rounds(
    engines: Mapping[str, EngineProcess], prompt: list[int], steps: int, sequences: int, rounds: int, report: Report
) -> dict[str, list[float]]:
    """Return the seconds of a decode step of every round, by backend; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        engine.generate(prompt, 1, sequences)  # warms up
    for done in range(rounds):
        report(f"measuring {MODEL}", done, rounds)
        for name, engine in engines.items():
            times[name].append(engine.generate(prompt, steps, sequences).decode_s / steps)
    return times


def _compared(times: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return the seconds of a step by backend, and the first backend's median over that of `numpy`."""
    spreads = {name: spread(found) for name, found in times.items()}
    backend, *_ = spreads
    return {
        "step_s": {name: one.record() for name, one in spreads.items()},
        "time_over_numpy": spreads[backend].median / spreads["numpy"].median,
    }


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run this many processes that compute without end, until the block ends."""
    command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in running:
            process.stdout.readline()  # type: ignore[union-attr]  # until it has begun
        yield
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.communicate()
