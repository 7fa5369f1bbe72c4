"""Reader: a trace from a file that anybody may have written. Everything is bounded and checked before it is used."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from minillm.support.files import parse_json, read_ordinary_file
from minillm.trace.schema import check
from minillm.trace.state import States

LARGEST, MOST_LINES, LONGEST_LINE = 64_000_000, 1_000_000, 4_000_000  # bytes, lines, bytes

Line = dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """What a run did.

    Attributes:
        header: what was recorded, and how.
        lines: all lines after the header, in order.
    """

    header: Line
    lines: list[Line]

    @property
    def finished(self) -> bool:
        """Whether the recording came to its end: the run was not interrupted."""
        return bool(self.lines) and self.lines[-1]["t"] == "end"

    @property
    def texts(self) -> dict[int, str]:
        """The text of every token that the trace names."""
        return {token: text for line in self.lines if line["t"] == "tokens" for token, text in line["texts"]}

    @cached_property
    def states(self) -> States:
        """The state after each step."""
        return States(self.lines)


def read(path: str | os.PathLike[str]) -> Trace:
    """Return the trace in a file."""
    file = Path(path)
    data = read_ordinary_file(file, LARGEST)
    *whole, _ = data.split(b"\n")
    header, *lines = [check(parse_json(line)) for line in whole]
    return Trace(header, lines)
