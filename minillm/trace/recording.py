"""record: write a trace of what runs in a `with` block."""

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from minillm.events import listening
from minillm.support.checks import check_bool, check_choice, check_integer, shown
from minillm.trace.attention import attention_lines, check_attention, size_of_attention
from minillm.trace.reader import Trace, load, parsed
from minillm.trace.recorder import Recorder
from minillm.trace.schema import DETAILS, FORMAT, LARGEST, VERSION
from minillm.trace.trace_file import TraceFile, created


class Run:
    """A run that is recorded, or was."""

    def __init__(self, path: Path | None) -> None:
        self.path, self._memory, self._ended = path, io.BytesIO(), False

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
        return parsed(self._memory.getvalue(), self.name) if self.path is None else load(self.path)

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
        layers: whose attention is recorded; by default all of up to six, else the first, the middle and the last, or
            none with a warning if they take more than a trace may have.
        times: also record seconds. Then no two traces are equal.
        force: overwrite a file. The old one stays until the end of the block, and if nothing ran.

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
    with created(run.path, run._memory, force) as file:
        clock = "seconds" if times else "steps"
        file.write({"t": "header", "format": FORMAT, "version": VERSION, "detail": detail, "clock": clock})
        _raise_problem(run, file.problem)  # a full disk: raise before the model runs
        recorder = Recorder(file.write, detail, times)
        try:
            with listening(recorder.hear):
                yield run
        finally:
            recorder.close()
            run._end()
            file.worth_keeping = recorder.model is not None
        if recorder.model is None and not recorder.problem:
            raise ValueError(f"nothing ran while {run.name} was recorded; run the model within the block")
        problem = recorder.problem or (_write_attention(recorder, file, chosen) if detail == "attention" else "")
        if not recorder.problem:
            file.write({"t": "end", "s": file.step, "lines": file.lines})
        _raise_problem(run, problem or file.problem, recorder.failure)


def _raise_problem(run: Run, problem: str, cause: Exception | None = None) -> None:
    if problem:
        raise ValueError(f"{run.name}: {problem}") from cause


def _write_attention(recorder: Recorder, file: TraceFile, layers: Sequence[int] | None) -> str:
    """Write the attention of all requests, or return why that is not possible.

    If nobody chose layers, attention that does not fit is left out, with a warning.
    """
    model, completions = recorder.model, recorder.completions
    assert model is not None
    if problem := check_attention(model, layers):
        return problem
    room, size = LARGEST - file.bytes, size_of_attention(model, completions, layers)
    if size > room:
        problem = f"the attention takes {size / 1e6:.0f} MB, and {room / 1e6:.0f} MB are left; choose fewer layers"
        if layers is None:
            warnings.warn(f"attention is left out: {problem}", stacklevel=4)
        return "" if layers is None else problem
    for line in attention_lines(model, completions, layers, recorder.cache_dtypes):
        file.write({"t": line["t"], "s": file.step} | line)
    return ""


def _checked_layers(layers: Sequence[int] | None, detail: str) -> list[int] | None:
    if layers is None:
        return None
    if detail != "attention":
        raise ValueError(f"layers belong to detail='attention', and detail is {detail!r}; leave one of them out")
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
        raise ValueError(f"layers is {shown(layers)}; expected a list of numbers of layers")
    return sorted({check_integer("a layer", layer, 0) for layer in layers})
