"""TraceFile: a trace that is being written, in a file or in memory.

A trace grows during the run, so that Ctrl-C, a full disk or a power cut leaves a valid trace of what ran until then. A
new file grows under its own name. An old file that is to be overwritten stays as it is until the end:

    run.jsonl            the old trace               the new trace, if the model ran
    .run.jsonl-8f0c...   grows during the run    ->  is renamed, or deleted
"""

import errno
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from minillm.support.partial_file import create_partial
from minillm.support.state_file import named
from minillm.support.wording import failure_text
from minillm.trace.schema import LARGEST, LONGEST_LINE, MOST_LINES

FULL = f"the trace has {LARGEST // 10**6} MB or {MOST_LINES} lines, and no more fit; record a shorter run"
LONG = f"a line would have more than {LONGEST_LINE // 10**6} MB; record fewer tokens"


class TraceFile:
    """A trace that is being written. A line is written whole, and none after the first problem.

    Attributes:
        bytes, lines, step: what was written: its size, its lines, and the step of the last line.
        problem: why no more lines are written; "" while they are.
        worth_keeping: whether the model ran; if not, the file is deleted at the end.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Begin with an empty file. It must be unbuffered: what is written is in the file, also if the program dies."""
        self._file = file
        self.bytes = self.lines = self.step = 0
        self.problem = ""
        self.worth_keeping = False

    def write(self, line: dict[str, Any]) -> None:
        """Append a line. A problem, such as a full disk, is kept for the end, because it must not break the run."""
        data = (json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n").encode("ascii")
        if self.bytes + len(data) > LARGEST or self.lines >= MOST_LINES:
            self.problem = self.problem or FULL
        if len(data) > LONGEST_LINE:
            self.problem = self.problem or LONG
        if not self.problem:
            self._append(data)
        if not self.problem:
            self.bytes, self.lines, self.step = self.bytes + len(data), self.lines + 1, line.get("s", 0)

    def _append(self, data: bytes) -> None:
        """Write all of these bytes, or none."""
        try:
            while data:
                data = data[self._file.write(data) :]  # a disk that is nearly full takes some of them
        except OSError as problem:
            self.problem = failure_text(problem)
            with suppress(OSError):
                self._file.truncate(self.bytes)


@contextmanager
def created(path: Path | None, memory: io.BytesIO, force: bool) -> Iterator[TraceFile]:
    """Provide the file of a trace; without a path, write to `memory`.

    Raises:
        OSError: the file exists (and not `force`), is not an ordinary file, or cannot be written.
    """
    if path is None:
        yield TraceFile(memory)
        return
    final = path.resolve()  # of a link, the file that it names
    with named(path):
        file, grows = _create(final, force)
    trace = TraceFile(file)
    try:
        yield trace
    finally:
        file.close()
        if not trace.worth_keeping:
            grows.unlink(missing_ok=True)
        elif grows != final:
            with named(path):
                grows.replace(final)


def _create(path: Path, force: bool) -> tuple[BinaryIO, Path]:
    """Create the file that grows, and return its path: `path`, or another one if there is an old file."""
    if not path.exists():
        return open(path, "xb", buffering=0), path
    if not force:
        raise FileExistsError(errno.EEXIST, "the file exists; overwrite it with force, or choose another name")
    if not path.is_file():
        raise OSError(errno.EINVAL, "expected an ordinary file")
    handle, partial = create_partial(path, f".{path.name[:100]}-")
    return os.fdopen(handle, "wb", buffering=0), partial
