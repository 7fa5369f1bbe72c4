"""record: write a trace of what runs in a `with` block."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from minillm.events import listening
from minillm.support.checks import check_bool, check_choice
from minillm.support.wording import failure_text
from minillm.trace.recorder import Recorder
from minillm.trace.schema import DETAILS, FORMAT, VERSION


class TraceFile:
    """A trace that is being written. A line is written whole, and none after the first failure."""

    def __init__(self, file: TextIO) -> None:
        self._file, self.lines, self.problem = file, 0, ""

    def write(self, line: dict[str, Any]) -> None:
        """Append a line. A failure (a full disk) is remembered, because it must not break the run."""
        if self.problem:
            return
        try:
            self._file.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
            self._file.flush()
            self.lines += 1
        except OSError as problem:
            self.problem = failure_text(problem)


@contextmanager
def record(
    path: str | os.PathLike[str],
    detail: str = "choices",
    layers: Sequence[int] | None = None,
    times: bool = False,
    force: bool = False,
) -> Iterator[None]:
    """Write a trace of everything that runs in the `with` block, in this thread."""
    check_choice("detail", detail, DETAILS)
    check_bool("times", times)
    check_bool("force", force)
    with open(path, "w" if force else "x", encoding="ascii", newline="\n") as opened:
        file = TraceFile(opened)
        header = {"format": FORMAT, "version": VERSION, "detail": detail, "clock": "seconds" if times else "steps"}
        file.write({"t": "header", **header})
        recorder = Recorder(file.write, detail, times)
        try:
            with listening(recorder.hear):
                yield
        finally:
            recorder.close()
        if detail == "attention" and recorder.model:
            from minillm.trace.attention import attention_lines

            for line in attention_lines(recorder.model, recorder.requests.objects, recorder.step, layers):
                file.write(line)
        file.write({"t": "end", "s": recorder.step, "lines": file.lines})
