"""Running a lesson's cells, one after the other, in one namespace, and keeping what each of them printed."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from minillm.classroom.player.lessons import Cell, Lesson
from minillm.classroom.questions import Asker, asking, reveal


class LessonRun:
    """One run of one lesson.

    Attributes:
        lesson: what is run.
        namespace: its variables.
        outputs: what each cell printed when it last ran, by number; prose is not there.
    """

    def __init__(self, lesson: Lesson) -> None:
        """Nothing has run yet."""
        self.lesson = lesson
        self.namespace: dict[str, Any] = {"__name__": "__main__", "__file__": str(lesson.path)}
        self.outputs: dict[int, str] = {}

    def run(self, number: int, asker: Asker = reveal) -> None:
        """Run a cell of code; what it prints is seen at once, and kept. Its questions go to `asker`.

        Raises:
            Exception: whatever the cell raises; what it printed is kept all the same.
        """
        cell = self.lesson.cells[number]
        with _recorded(sys.stdout) as record:
            try:
                with asking(asker):
                    exec(_compiled(cell, str(self.lesson.path)), self.namespace)
            finally:
                self.outputs[number] = record.getvalue()

    def run_silently(self, number: int) -> None:
        """Run a cell of code without showing anything; questions are answered by themselves."""
        with redirect_stdout(io.StringIO()):
            self.run(number)


def _compiled(cell: Cell, path: str) -> Any:
    """The cell's code; the empty lines before it make tracebacks name the right line of the file."""
    return compile("\n" * (cell.line - 1) + cell.source, path, "exec")


class _Recorder(io.TextIOBase):
    """Passes text on, and keeps it."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.kept = stream, io.StringIO()

    def write(self, text: str) -> int:
        self.kept.write(text)
        return int(self.stream.write(text))

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return bool(self.stream.isatty())

    @property
    def encoding(self) -> Any:  # type: ignore[override]
        return self.stream.encoding


@contextmanager
def _recorded(stream: Any) -> Iterator[io.StringIO]:
    recorder = _Recorder(stream)
    with redirect_stdout(recorder):
        yield recorder.kept
