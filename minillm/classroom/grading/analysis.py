"""Analysis: ask `syntax.py` about a learner's source, in a worker process of its own that never runs the source."""

from pathlib import Path
from typing import Any

from minillm.classroom.worker.worker import Failed, Worker

SOURCE = Path(__file__).with_name("syntax.py").read_text(encoding="utf-8")


def analysed(function: str, asked: list[dict[str, Any]]) -> list[Any]:
    """Return the results of a function of `syntax.py` for each of these inputs; None where it fails."""
    found = list[Any]()
    with Worker() as worker:
        for inputs in asked:
            if worker.ended and isinstance(worker.load(SOURCE, function), Failed):
                return [*found, *[None] * (len(asked) - len(found))]
            outcome = worker.call(inputs)
            found.append(None if isinstance(outcome, Failed) else outcome.value)
    return found
