"""record: write a trace of what runs in a `with` block."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from minillm.events import listening
from minillm.support.checks import check_bool, check_choice, check_integer, shown
from minillm.support.wording import failure_text
from minillm.trace.attention import attention_lines, room_for
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


@contextmanager
def record(
    path: str | os.PathLike[str],
    detail: str = "choices",
    layers: Sequence[int] | None = None,
    times: bool = False,
    force: bool = False,
) -> Iterator[None]:
    """Write a trace of all that runs in the `with` block, in this thread.

    `generate`, `stream`, `speculative_generate`, a `Conversation`, an `Engine` or `StaticBatching` run in the block; a
    stream has to be iterated over there. They give the same tokens as without a trace. If the block is interrupted,
    the trace has what ran until then.

    Args:
        path: of the file.
        detail: "tokens"; "choices" adds the candidates of each token; "attention" adds attention weights.
        layers: whose attention is recorded; by default all of up to six, else the first, the middle and the last.
        times: also record seconds. Then no two traces are equal.
        force: overwrite a file.

    Raises:
        ValueError: a wrong argument; at the end, nothing ran, two models did, or the trace could not be written.
        OSError: the file exists, or cannot be written.

    Example:
        >>> import tempfile
        >>> model, path = minillm.load("story"), tempfile.mkdtemp() + "/run.jsonl"
        >>> with minillm.trace.record(path):
        ...     out = minillm.generate(model, "The capital of France is", max_new_tokens=3)
        >>> len(minillm.trace.read(path).states.steps)  # step 0, and 3 passes
        4
    """
    check_choice("detail", detail, DETAILS)
    check_bool("times", times)
    check_bool("force", force)
    chosen = _checked_layers(layers, detail)
    with _opened(path, force) as opened:
        file = TraceFile(opened)
        clock = "seconds" if times else "steps"
        file.write({"t": "header", "format": FORMAT, "version": VERSION, "detail": detail, "clock": clock})
        recorder = Recorder(file.write, detail, times)
        try:
            with listening(recorder.hear):
                yield
        finally:
            recorder.close()
        if recorder.model is None and not recorder.problem:
            Path(path).unlink()
            raise ValueError(f"nothing ran while {Path(path).name} was recorded; run the model within the block")
        problem = recorder.problem or (_write_attention(recorder, file, chosen) if detail == "attention" else "")
        if not recorder.problem:
            file.write({"t": "end", "s": file.step, "lines": file.lines})
        if problem := problem or file.problem:
            raise ValueError(f"{Path(path).name}: {problem}") from recorder.failure


def _write_attention(recorder: Recorder, file: TraceFile, layers: Sequence[int] | None) -> str:
    """Write the attention of all requests, or return why that is not possible."""
    model, completions = recorder.model, recorder.completions
    assert model is not None
    if problem := room_for(model, completions, layers, LARGEST - file.bytes):
        return problem
    for line in attention_lines(model, completions, layers, recorder.cache_dtypes):
        file.write({"t": line["t"], "s": file.step} | line)
    return ""


def _opened(path: str | os.PathLike[str], force: bool) -> TextIO:
    try:
        return open(path, "w" if force else "x", encoding="ascii", newline="\n")
    except FileExistsError:
        raise FileExistsError(f"{path} exists; overwrite it with force, or choose another name") from None


def _checked_layers(layers: Sequence[int] | None, detail: str) -> list[int] | None:
    if layers is None:
        return None
    if detail != "attention":
        raise ValueError(f"layers belong to detail='attention', and detail is {detail!r}; leave one of them out")
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
        raise ValueError(f"layers is {shown(layers)}; expected a list of numbers of layers")
    return sorted({check_integer("a layer", layer, 0) for layer in layers})
