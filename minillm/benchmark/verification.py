"""What a verification costs: a forward pass over the last token and the draft tokens, in decode steps."""

from collections.abc import Mapping, Sequence
from typing import Any

from minillm.benchmark.engine_process import EngineProcess
from minillm.benchmark.timing import spread
from minillm.support.progress import Report

ROWS = (4, 8, 16)
REPEATS = 9  # passes of each number of rows in a round


def measure_verification(
    engines: Mapping[str, EngineProcess], prompt: Sequence[int], rounds: int, report: Report
) -> dict[str, Any]:
    """Return, by format and number of rows, the median time of a pass over that of a pass of one row.

    Args:
        engines: minillm, by the format of its weights.
        prompt: token ids before the pass.
        rounds: number of times that all are measured.
        report: called with the progress.

    Raises:
        ValueError: an engine failed.
    """
    rows = [1, *ROWS]
    request = {"task": "verification", "prompt": list(prompt), "rows": rows, "new_tokens": REPEATS}
    times: dict[str, list[list[float]]] = {weights: [] for weights in engines}
    for done in range(rounds):
        report("measuring verification", done, rounds)
        for weights, engine in engines.items():
            times[weights].append(engine.figures(request, *map(str, rows)))
    return {weights: _in_steps(found) for weights, found in times.items()}


def _in_steps(times: Sequence[Sequence[float]]) -> dict[str, float]:
    step, *others = (spread(of_rows).median for of_rows in zip(*times, strict=True))
    return {str(rows): seconds / step for rows, seconds in zip(ROWS, others, strict=True)}
