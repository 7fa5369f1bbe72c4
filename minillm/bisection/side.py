"""A side of the comparison, as a person types it: `[SCHEDULE] [@ENGINE]`, or one of the two alone.

chunk 3, block 4 @compiled      a schedule on a backend
chunk 3, block 4                a schedule, on the backend of --backend
compiled                        a backend, with the usual schedule
chunk 3 @my_engine.py           a schedule on an engine in a file
my_engines.py:static            one of several engines in a file
HEAD~3                          this repository's minillm at a commit, with the usual schedule
saved.json @plain               a schedule that was saved
"""

import re
from typing import NamedTuple

from minillm.bisection.schedule import Schedule, begins_like_a_schedule, parse, read
from minillm.support.checks import shown
from minillm.verification.shipped_adapters import adapter_names

BACKENDS = ("numpy", "plain", "exact", "compiled", "cupy")  # as in minillm.backends
OURS = "minillm"


class Side(NamedTuple):
    """What one side says.

    Attributes:
        schedule: the schedule.
        kind: "backend" for minillm itself, "file" for an engine in a file, "commit" for a commit of minillm.
        engine: the name of the backend, the file as it is typed, or the name of the commit.
        backend: the backend on which minillm runs.
    """

    schedule: Schedule
    kind: str
    engine: str
    backend: str

    def __str__(self) -> str:
        return f"{self.schedule} @{self.engine}"


def parse_side(text: str, backend: str) -> Side:
    """Return what a side says.

    Args:
        text: the side, as above.
        backend: the backend of a side that names no engine.

    Raises:
        ValueError: the schedule is wrong, or the text is empty.
        OSError: the file of the schedule cannot be read.

    Example:
        >>> from minillm.bisection.side import parse_side
        >>> parse_side("chunk 3, block 4 @compiled", backend="numpy").kind
        'backend'
        >>> str(parse_side("plain", backend="numpy"))
        'whole @plain'
    """
    first, at, last = _split(text)
    schedule = first if at or begins_like_a_schedule(first) or first.endswith(".json") else ""
    engine = last if at else ("" if schedule else first)
    if not schedule and not engine:
        raise ValueError(f"{shown(text)} says nothing; expected a schedule, @ENGINE, or both: 'chunk 3 @plain'")
    return Side(_schedule(schedule), *_engine(engine, backend))


def _split(text: str) -> tuple[str, bool, str]:
    """Return what is before an @ that begins a word, whether there is one, and what is after it."""
    found = re.fullmatch(r"(.*?)(?:(?<=\s)|^)@\s*(.*)", text.strip(), re.DOTALL)
    return (found[1].strip(), True, found[2].strip()) if found else (text.strip(), False, "")


def _schedule(text: str) -> Schedule:
    if text.endswith(".json"):
        return read(text)
    return parse(text) if text else Schedule()


def _engine(name: str, backend: str) -> tuple[str, str, str]:
    """Return kind, engine and backend of a side."""
    if name in BACKENDS:
        return "backend", name, name
    if name in ("", OURS):
        return "backend", backend, backend
    is_file = re.fullmatch(r".+\.py(:.*)?", name, re.DOTALL) or name.partition(":")[0] in adapter_names()
    return "file" if is_file else "commit", name, backend
