"""record: write a trace of what runs in a `with` block."""

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from minillm.events import listening
from minillm.support.checks import check_bool, check_choice, check_integer, shown
from minillm.support.wording import failure_text
from minillm.trace.attention import attention_lines, room_for
from minillm.trace.reader import Trace, parsed, read
from minillm.trace.recorder import Recorder
from minillm.trace.schema import DETAILS, FORMAT, LARGEST, MOST_LINES, VERSION

FULL = f"the trace has {LARGEST // 10**6} MB or {MOST_LINES} lines, and no more fit; record a shorter run"


class TraceFile:
    """A trace that is being written. A line is written whole, and none after the first problem.

    Attributes:
        bytes, lines, step: what was written: its size, its lines, and the step of the last line.
        problem: why no more lines are written; "" while they are.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.bytes = self.lines = self.step = 0
        self.problem = ""

    def write(self, line: dict[str, Any]) -> None:
        """Append a line. A problem, such as a full disk, is kept for the end, because it must not break the run."""
        text = json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n"
        if self.bytes + len(text) > LARGEST or self.lines >= MOST_LINES:
            self.problem = self.problem or FULL
        if self.problem:
            return
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as problem:
            self.problem = failure_text(problem)
        self.bytes, self.lines, self.step = self.bytes + len(text), self.lines + 1, line.get("s", 0)


class Run:
    """A run that is recorded, or was."""

    def __init__(self, path: Path | None) -> None:
        self.path, self._memory, self._ended = path, io.StringIO(), False

    @property
    def name(self) -> str:
        """How messages call the trace."""
        return "a trace" if self.path is None else self.path.name

    @cached_property
    def trace(self) -> Trace:
        """The trace, after the block. If the block was interrupted, it has what ran until then.

        Raises:
            ValueError: the block has not ended, or nothing was recorded.
        """
        if not self._ended:
            raise ValueError("the run is still being recorded; take its trace after the `with` block")
        return parsed(self._memory.getvalue().encode("ascii"), self.name) if self.path is None else read(self.path)

    def _end(self) -> None:
        self._ended = True


@contextmanager
def record(
    path: str | os.PathLike[str] | None = None,
    detail: str = "choices",
    layers: Sequence[int] | None = None,
    times: bool = False,
    force: bool = False,
) -> Iterator[Run]:
    """Record a trace of all that runs in the `with` block, in this thread: in a file, or in memory.

    `generate`, `stream`, `speculative_generate`, a `Conversation`, an `Engine` or `StaticBatching` run in the block; a
    stream has to be iterated over there. They give the same tokens as without a trace. If the block is interrupted,
    the trace has what ran until then.

    Args:
        path: of the file; by default, the trace stays in memory.
        detail: "tokens"; "choices" adds the candidates of each token; "attention" adds attention weights.
        layers: whose attention is recorded; by default all of up to six, else the first, the middle and the last.
        times: also record seconds. Then no two traces are equal.
        force: overwrite a file.

    Yields:
        The run. After the block, `run.trace` is what `read` returns.

    Raises:
        ValueError: a wrong argument; at the end, nothing ran, two models did, or the trace could not be written.
        OSError: the file exists, or cannot be written.

    Example:
        >>> model = minillm.load("story")
        >>> with minillm.trace.record() as run:
        ...     out = minillm.generate(model, "The capital of France is", max_new_tokens=3)
        >>> len(run.trace.states.steps)  # step 0, and 3 passes
        4
    """
    check_choice("detail", detail, DETAILS)
    check_bool("times", times)
    check_bool("force", force)
    chosen = _checked_layers(layers, detail)
    run = Run(None if path is None else Path(path))
    with _opened(run, force) as opened:
        file = TraceFile(opened)
        clock = "seconds" if times else "steps"
        file.write({"t": "header", "format": FORMAT, "version": VERSION, "detail": detail, "clock": clock})
        recorder = Recorder(file.write, detail, times)
        try:
            with listening(recorder.hear):
                yield run
        finally:
            recorder.close()
            run._end()
        if recorder.model is None and not recorder.problem:
            if run.path is not None:
                run.path.unlink()
            raise ValueError(f"nothing ran while {run.name} was recorded; run the model within the block")
        problem = recorder.problem or (_write_attention(recorder, file, chosen) if detail == "attention" else "")
        if not recorder.problem:
            file.write({"t": "end", "s": file.step, "lines": file.lines})
        if problem := problem or file.problem:
            raise ValueError(f"{run.name}: {problem}") from recorder.failure


def _write_attention(recorder: Recorder, file: TraceFile, layers: Sequence[int] | None) -> str:
    """Write the attention of all requests, or return why that is not possible."""
    model, completions = recorder.model, recorder.completions
    assert model is not None
    if problem := room_for(model, completions, layers, LARGEST - file.bytes):
        return problem
    for line in attention_lines(model, completions, layers, recorder.cache_dtypes):
        file.write({"t": line["t"], "s": file.step} | line)
    return ""


def _opened(run: Run, force: bool) -> AbstractContextManager[TextIO]:
    if run.path is None:
        return nullcontext(run._memory)
    try:
        return open(run.path, "w" if force else "x", encoding="ascii", newline="\n")
    except FileExistsError:
        raise FileExistsError(f"{run.path} exists; overwrite it with force, or choose another name") from None


def _checked_layers(layers: Sequence[int] | None, detail: str) -> list[int] | None:
    if layers is None:
        return None
    if detail != "attention":
        raise ValueError(f"layers belong to detail='attention', and detail is {detail!r}; leave one of them out")
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
        raise ValueError(f"layers is {shown(layers)}; expected a list of numbers of layers")
    return sorted({check_integer("a layer", layer, 0) for layer in layers})
