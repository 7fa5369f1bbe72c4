"""Exercise: one source file, from which the stub, the solution, the hints and the check are cut.

`exercises/NN_name/exercise.py` is one Python file in sections, each begun by a comment of the form `# %% name`:

- before the first: a docstring, which says what the task is and where the engine does it;
- `learner`: imports, perhaps something given, and the one function, typed and with the shapes in its docstring;
- `solution`, inside that function: its body; a stub has a NotImplementedError in its place;
- `hints`: HINTS, four levels: the idea, the shapes, the steps, one line of the solution;
- `harness`, if a call is more than the function of its inputs: `call(function, **inputs)`;
- `check`: LESSON, CONCEPTS, `cases(random)`, which yields inputs, and PROPERTIES, functions of (inputs, result, run)
  whose docstring is a true sentence; perhaps ENGINE, the function of minillm that the solution can stand for.

Beside it lies `bugs.py`: plausible wrong answers under the same rules, each with a docstring that says to whom it
happens what it means. The course check holds all of this together (`minillm course check`).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from minillm.support.shipped import shipped

MARKER = re.compile(r"^(?P<indent> *)# %% (?P<name>\w+)\n", re.MULTILINE)
LEVELS = ("the idea", "the shapes", "the steps", "one line")
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        number: from 1, in the order of the lessons.
        name: of its function, and of its file in a workspace.
        folder: where it is kept.
    """

    number: int
    name: str
    folder: Path

    @property
    def label(self) -> str:
        """How it is called: `03_softmax`."""
        return f"{self.number:02}_{self.name}"

    @property
    def title(self) -> str:
        """The first line of its docstring."""
        return str(self.namespace["__doc__"]).splitlines()[0].rstrip(".")

    @cached_property
    def text(self) -> str:
        """The source file."""
        return (self.folder / "exercise.py").read_text(encoding="utf-8")

    @cached_property
    def namespace(self) -> dict[str, Any]:
        """What the source file defines. It is ours, and is run here."""
        return run_source(self.text, str(self.folder / "exercise.py"))

    @cached_property
    def sections(self) -> dict[str, str]:
        """The text of every section; the docstring is under the empty name."""
        marks = list(MARKER.finditer(self.text))
        ends = [mark.start() for mark in marks[1:]] + [len(self.text)]
        cut = {mark["name"]: self.text[mark.end() : end] for mark, end in zip(marks, ends, strict=True)}
        return {"": self.text[: marks[0].start()], **cut}

    @property
    def stub(self) -> str:
        """What a learner begins with."""
        todo = f'    # TODO(you)\n    raise NotImplementedError("exercise {self.number}, {self.name}: {self.title}")\n'
        return self.sections[""] + self.sections["learner"].lstrip("\n") + todo

    @property
    def solution(self) -> str:
        """The stub, solved."""
        return self.sections[""] + self.sections["learner"].lstrip("\n") + self.sections["solution"].rstrip() + "\n"

    @property
    def harness(self) -> str:
        """Source that calls the function, or nothing."""
        return self.sections.get("harness", "")

    @property
    def hints(self) -> tuple[str, ...]:
        """One for each of LEVELS."""
        return tuple(self.namespace["HINTS"])

    @property
    def lesson(self) -> int:
        """The number of the lesson it belongs to."""
        return int(self.namespace["LESSON"])

    @property
    def concepts(self) -> tuple[str, ...]:
        """Words that pick it, besides its name."""
        return tuple(self.namespace["CONCEPTS"])

    @property
    def engine(self) -> str | None:
        """The function of minillm that a solution can stand for, with its module."""
        return self.namespace.get("ENGINE")

    @property
    def properties(self) -> tuple[Callable[..., bool], ...]:
        """What is true of every right result."""
        return tuple(self.namespace.get("PROPERTIES", ()))

    @property
    def in_place(self) -> bool:
        """Whether the function is meant to change its inputs."""
        return bool(self.namespace.get("IN_PLACE", False))

    def cases(self, seed: int = 0) -> list[Inputs]:
        """Inputs, the smallest first, so that the first that fails is small. Other seeds give other inputs."""
        return sorted(self.namespace["cases"](np.random.default_rng(seed)), key=size)

    def run(self, function: Callable[..., Any], inputs: Inputs) -> Any:
        """Call a function of ours on a copy of the inputs."""
        own = copied(inputs)
        if "call" in self.namespace:
            return self.namespace["call"](function, **own)
        return function(*own.values())

    def expected(self, inputs: Inputs) -> Any:
        """What the solution returns."""
        return self.run(self.namespace[self.name], inputs)

    @cached_property
    def bugs_text(self) -> str:
        """The source of the wrong answers."""
        return (self.folder / "bugs.py").read_text(encoding="utf-8")

    @cached_property
    def bugs(self) -> dict[str, Callable[..., Any]]:
        """The wrong answers by name, in order."""
        namespace = run_source(self.bugs_text, str(self.folder / "bugs.py"))
        functions = {name: value for name, value in namespace.items() if isinstance(value, FunctionType)}
        return {name: value for name, value in functions.items() if name[0] != "_" and value.__module__ == "exercise"}


def all_exercises() -> list[Exercise]:
    """All exercises, in order.

    Raises:
        FileNotFoundError: they are not there, though they ship with minillm.
    """
    found = list(_find())
    if not found:
        raise FileNotFoundError(f"{shipped('exercises')}: the exercises are missing; install minillm anew")
    return found


def _find() -> Iterator[Exercise]:
    for folder in sorted(shipped("exercises").glob("[0-9][0-9]_*")):
        if (folder / "exercise.py").is_file():
            number, name = folder.name.split("_", 1)
            yield Exercise(int(number), name, folder)


def find_exercise(which: str) -> Exercise:
    """The exercise of this number or name.

    Raises:
        ValueError: there is none.
    """
    exercises = all_exercises()
    for exercise in exercises:
        if which in (str(exercise.number), f"{exercise.number:02}", exercise.name, exercise.label):
            return exercise
    raise ValueError(f"there is no exercise {which[:40]!r}; expected a number from 1 to {len(exercises)}, or a name")


def run_source(text: str, file_name: str) -> dict[str, Any]:
    """Run a source of ours; what it defines."""
    namespace: dict[str, Any] = {"__name__": "exercise"}
    exec(compile(text, file_name, "exec"), namespace)
    return namespace


def copied(value: Any) -> Any:
    """Values with arrays of their own."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(item) for item in value)
    return value


def size(value: Any) -> int:
    """How many numbers there are in a value: what a person has to look at."""
    if isinstance(value, np.ndarray):
        return value.size
    if isinstance(value, dict):
        return sum(size(item) for item in value.values())
    if isinstance(value, list | tuple | str):
        return sum(size(item) for item in value) if not isinstance(value, str) else 1
    return 1
