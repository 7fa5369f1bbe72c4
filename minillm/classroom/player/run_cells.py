"""Run the cells of a lesson in one namespace, and store what each of them prints."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from minillm.classroom.frames import Stepper, print_frames, stepping
from minillm.classroom.player.lessons import Cell, Lesson
from minillm.classroom.questions import Asker, Question, asking, reveal


class LessonRun:
    """One run of one lesson.

    Attributes:
        lesson: the lesson.
        namespace: its variables.
        outputs: what each code cell printed in its last run, by number of the cell.
        questions: the questions of the cells that have run, by number of the cell.
    """

    def __init__(self, lesson: Lesson) -> None:
        """Prepare a run of the lesson. No cell has run yet."""
        self.lesson = lesson
        self.namespace: dict[str, Any] = {"__name__": "__main__", "__file__": str(lesson.path)}
        self.outputs: dict[int, str] = {}
        self.questions: dict[int, Question] = {}

    def run(self, number: int, asker: Asker = reveal, stepper: Stepper = print_frames) -> None:
        """Run a cell of code. Its output is shown immediately and stored.

        Its questions go to `asker`, and its frames to `stepper`.

        Raises:
            Exception: any exception of the cell. The output up to it is stored, too.
        """
        cell = self.lesson.cells[number]

        def ask(question: Question) -> None:
            self.questions[number] = question
            asker(question)

        with _recorded(sys.stdout) as record:
            try:
                with asking(ask), stepping(stepper):
                    exec(_compiled(cell, str(self.lesson.path)), self.namespace)
            finally:
                self.outputs[number] = record.getvalue()

    def run_silently(self, number: int) -> None:
        """Run a cell of code without showing its output. Questions are answered automatically."""
        with redirect_stdout(io.StringIO()):
            self.run(number)


def answered_questions(lesson: Lesson) -> list[Question]:
    """Run a lesson without output. Return its questions, with their answers.

    Raises:
        Exception: any exception of a cell.
    """
    run = LessonRun(lesson)
    for number, cell in enumerate(lesson.cells):
        if cell.kind == "code":
            run.run_silently(number)
    return [run.questions[number] for number in sorted(run.questions)]


def _compiled(cell: Cell, path: str) -> Any:
    """Compile the cell. Empty lines before it give tracebacks the line numbers of the file."""
    return compile("\n" * (cell.line - 1) + cell.source, path, "exec")


class _Recorder(io.TextIOBase):
    """A stream that passes text on and stores it."""

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
