"""Lessons: Python files in py:percent format, split into cells.

A lesson is one Python file, `lessons/NN_name/lesson.py`. A line `# %% [markdown]` begins a cell of prose; its lines are
comments. A line `# %%` begins a cell of code. So the same file runs with `python`, opens as a notebook in Jupyter and
VS Code, and runs cell by cell in the player. The format is described in jupytext's documentation, "The percent format".
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from minillm.support.shipped import shipped

MARKER = re.compile(r"# %%( \[markdown\])?")
FOLDER = re.compile(r"\d\d_[a-z_]+")


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        kind: "prose" or "code".
        source: markdown or Python.
        line: the line of the file on which the source begins, counted from 1.
    """

    kind: str
    source: str
    line: int

    @property
    def asks(self) -> bool:
        """Whether the cell asks the reader a question."""
        return self._calls("predict")

    @property
    def speaks(self) -> bool:
        """Whether only the output is shown: for a question, whose code contains the answer, and for claims."""
        return self.asks or self._calls("claim")

    def _calls(self, function: str) -> bool:
        if self.kind != "code":
            return False
        calls = [node.func for node in ast.walk(ast.parse(self.source)) if isinstance(node, ast.Call)]
        return function in [called.id for called in calls if isinstance(called, ast.Name)]


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes:
        path: the file of the lesson.
        cells: the cells in order.
    """

    path: Path
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """The name of its folder, such as "03_attention"."""
        return self.path.parent.name

    @property
    def topic(self) -> str:
        """The name of its folder without the number, such as "attention". It stays when lessons are renumbered."""
        return self.name[3:]

    @property
    def number(self) -> int:
        """Its number in the course, from 1."""
        return int(self.name[:2])

    @property
    def title(self) -> str:
        """The heading of its first cell."""
        return self.cells[0].source.splitlines()[0].removeprefix("# ")


def all_lessons() -> list[Lesson]:
    """Return all lessons, in order.

    Raises:
        FileNotFoundError: if the lessons are missing.
    """
    paths = sorted(shipped("lessons").glob("*/lesson.py"))
    found = [read_lesson(path) for path in paths if FOLDER.fullmatch(path.parent.name)]
    if not found:
        raise FileNotFoundError(f"{shipped('lessons')}: the lessons are missing; install minillm again")
    return found


def find_lesson(which: str) -> Lesson:
    """Return the lesson with this number ("3" or "03") or name ("attention").

    Raises:
        ValueError: if there is no such lesson.
    """
    lessons = all_lessons()
    for lesson in lessons:
        if which in (str(lesson.number), lesson.name[:2], lesson.topic, lesson.name):
            return lesson
    known = ", ".join(f"{lesson.number} {lesson.topic}" for lesson in lessons)
    raise ValueError(f"there is no lesson {which[:40]!r}; expected one of {known}")


def read_lesson(path: Path) -> Lesson:
    """Read a lesson from its file.

    Raises:
        ValueError: if the file is not in py:percent format.
        OSError: if the file cannot be read.
    """
    return Lesson(path, parse_cells(path.read_text(encoding="utf-8"), str(path)))


def parse_cells(text: str, name: str) -> tuple[Cell, ...]:
    """Split a file into its cells.

    Raises:
        ValueError: if there is text before the first marker, or a line of prose that is not a comment.
    """
    lines = text.splitlines()
    begins = [number for number, line in enumerate(lines) if MARKER.fullmatch(line)]
    if not begins or any(line.strip() for line in lines[: begins[0]]):
        raise ValueError(f"{name}: expected a lesson, whose first line is '# %%' or '# %% [markdown]'")
    ends = [*begins[1:], len(lines)]
    return tuple(_cell(lines[begin:end], begin + 1, name) for begin, end in zip(begins, ends, strict=True))


def _cell(lines: list[str], line: int, name: str) -> Cell:
    """Return the cell of these lines. The first one is the marker, on line `line` of the file."""
    marker, *body = lines
    if not marker.endswith("[markdown]"):
        return Cell("code", "\n".join(body).strip("\n"), line + 1)
    for offset, text in enumerate(body, 1):
        if text and text != "#" and not text.startswith("# "):
            raise ValueError(f"{name}, line {line + offset}: expected prose: each line must begin with '# '")
    return Cell("prose", "\n".join(text[2:] for text in body).strip("\n"), line + 1)
