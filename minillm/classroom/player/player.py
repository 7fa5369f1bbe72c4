"""The player: show a lesson on the terminal, one cell at a time.

It reads whole lines and only appends output, so earlier output stays in the scroll-back. Only frames (see
`minillm.classroom.frames`) are drawn in place of each other, and with TERM=dumb they are appended, too. So it works
over ssh, in any terminal and with a screen reader.
"""

import code
import contextlib
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from minillm.classroom.frames import Stepper, step_on
from minillm.classroom.player.lessons import Cell, Lesson
from minillm.classroom.player.progress import LessonProgress
from minillm.classroom.player.run_cells import LessonRun
from minillm.classroom.questions import Asker, Question, ask, reveal
from minillm.support.terminal import wrapped

Show = Callable[..., None]  # prints objects of rich on the terminal
KEYS = "Keys, each followed by Enter: Enter alone next, b back, r run again, c code, p Python, q or Ctrl-D quit."


class Leave(Exception):
    """Raised when the reader leaves the lesson."""


class Player:
    """One reader, one lesson.

    Attributes:
        run: the cells that have run, and their variables.
        progress: the position of the reader. It changes during the lesson.
    """

    def __init__(self, lesson: Lesson, progress: LessonProgress, save: Callable[[], None], show: Show) -> None:
        """Prepare a lesson; `play` starts it. `save` is called after each change of `progress`."""
        self.lesson, self.progress, self.save, self.show = lesson, progress, save, show
        self.run = LessonRun(lesson)

    def play(self) -> None:
        """Step through the lesson until it ends or the reader leaves."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # gives input() line editing and a history
        try:
            self._begin()
            while self.progress.cell < len(self.lesson.cells):
                print()
                self._obey(input(f"[{self.progress.cell + 1}/{len(self.lesson.cells)}] > ").strip().lower())
        except (EOFError, Leave):
            print(f"\nTo resume: minillm lesson {self.lesson.number}")
            return
        self.progress.cell, self.progress.finished = 0, True
        self.save()
        print(wrapped(f"Lesson {self.lesson.number} is finished. {_score(self.progress)}"))
        self._summarise()

    def _begin(self) -> None:
        """Run the earlier cells again without output, then show the current cell."""
        self.progress.cell = min(self.progress.cell, len(self.lesson.cells) - 1)
        print(wrapped(KEYS))
        if self.progress.cell:
            print(wrapped(f"Resuming at cell {self.progress.cell + 1}; --restart begins at cell 1."))
        for number in range(self.progress.cell):
            if self.lesson.cells[number].kind == "code":
                self._try(partial(self.run.run_silently, number), f"Cell {number + 1}")
        self._arrive(self.progress.cell)

    def _obey(self, command: str) -> None:
        if command in ("", "n", "next"):
            self._arrive(self.progress.cell + 1)
        elif command in ("b", "back"):
            self._arrive(max(0, self.progress.cell - 1))
        elif command in ("r", "run", "run again"):
            self._show_cell(self.progress.cell, self._run_cell)
        elif command in ("c", "code"):
            self._show_code(self.progress.cell)
        elif command in ("p", "python"):
            python_prompt(self.run.namespace)
        elif command in ("q", "quit", "exit"):
            raise Leave
        else:
            print(wrapped(f"Unknown key {command[:20]!r}. {KEYS}"))

    def _summarise(self) -> None:
        """Print what the questions have shown, one sentence each."""
        learned = [question.shows for _, question in sorted(self.run.questions.items()) if question.shows]
        if learned:
            print("What the questions have shown:")
        for sentence in learned:
            print(wrapped(sentence, "- ", "  "))

    def _arrive(self, number: int) -> None:
        """Show a cell. Run it if it has not run yet, else show its output again."""
        self.progress.cell = number
        if number < len(self.lesson.cells):
            print()
            run = self._show_output if number in self.run.outputs else self._run_cell
            self._show_cell(number, run)
        self.save()

    def _show_cell(self, number: int, run_cell: Callable[[int], None]) -> None:
        """Show prose, or code and its output. If `speaks` is true, show only the output: `c` shows the code."""
        if not self.lesson.cells[number].speaks:
            self._show_code(number)
        if self.lesson.cells[number].kind == "code":
            run_cell(number)

    def _show_code(self, number: int) -> None:
        show_source(self.lesson.cells[number], self.show)

    def _show_output(self, number: int) -> None:
        print(self.run.outputs[number], end="")

    def _run_cell(self, number: int) -> None:
        if not self._try(partial(self.run.run, number, self._asker(number), self._stepper()), "This cell"):
            print(wrapped("r runs it again; p opens a Python prompt."))

    def _try(self, run: Callable[[], None], what: str) -> bool:
        """Run a cell. Print an exception as one line and continue: the reader may have changed variables."""
        try:
            run()
        except EOFError:
            raise Leave from None
        except Exception as problem:
            print(wrapped(f"{what} failed: {describe(problem)}"))
            return False
        return True

    def _asker(self, number: int) -> Asker:
        def ask_and_store(question: Question) -> None:
            self.progress.answers.setdefault(str(number), ask(question))  # only the first time counts
            self.save()

        return ask_and_store

    def _stepper(self) -> Stepper:
        screen = sys.stdout  # before a cell runs, whose output is recorded

        def step(frames: Sequence[str], _: Sequence[int]) -> None:
            step_on(screen, frames)

        return step


def play_all(lesson: Lesson, show: Show) -> LessonRun:
    """Show the whole lesson (prose, code and output) without asking questions.

    Raises:
        ValueError: if a cell fails.
        OSError: if the output cannot be written.
    """
    run = LessonRun(lesson)

    def run_cell(number: int) -> None:
        try:
            run.run(number, reveal)
        except OSError:  # a closed pipe, a full disk
            raise
        except Exception as problem:
            raise ValueError(f"lesson {lesson.number}, cell {number + 1} failed: {describe(problem)}") from problem

    for number, cell in enumerate(lesson.cells):
        show_source(cell, show)
        if cell.kind == "code":
            run_cell(number)
        print()
    return run


def show_source(cell: Cell, show: Show) -> None:
    """Show prose, or code and an empty line."""
    from minillm.classroom.player.display import Code, Prose

    show(Prose(cell.source) if cell.kind == "prose" else Code(cell.source + "\n"))


def python_prompt(namespace: dict[str, Any]) -> None:
    """Open a Python prompt with the lesson's variables. Changes to them remain."""
    names = sorted(name for name in namespace if not name.startswith("_"))
    print(wrapped("Variables of the lesson: " + ", ".join(names) + "."))
    console = code.InteractiveConsole(namespace)
    hidden = {name: namespace.get(name) for name in ("exit", "quit")}
    namespace["exit"] = namespace["quit"] = _Exit()  # Python's own ones would close the input
    try:
        console.interact(banner="Ctrl-D or exit() returns to the lesson.", exitmsg="")
    except SystemExit:
        pass
    finally:
        for name, value in hidden.items():
            if value is None:
                namespace.pop(name, None)
            else:
                namespace[name] = value


class _Exit:
    """Replaces `exit` and `quit` at the prompt."""

    def __call__(self, *_: object) -> None:
        raise SystemExit

    def __repr__(self) -> str:
        return "type exit() or press Ctrl-D to return to the lesson"


def describe(problem: Exception) -> str:
    """Return an exception as one line, with the line of the lesson that raised it."""
    last = traceback.extract_tb(problem.__traceback__)[-1]
    words = " ".join(str(problem).split())
    return f"{type(problem).__name__}{': ' + words if words else ''} ({last.filename.rsplit('/', 1)[-1]}:{last.lineno})"


def _score(progress: LessonProgress) -> str:
    tries = progress.answers.values()
    if not tries:
        return "It has no questions."
    return f"{sum(number == 1 for number in tries)} of {len(tries)} right at the first attempt."
