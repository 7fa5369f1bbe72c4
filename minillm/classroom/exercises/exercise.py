"""Exercise: one source file with the stub, the solution, the hints and the check.

`exercises/NN_name/exercise.py` is one Python file with sections. Each section begins with a comment `# %% name`:

- before the first section: a docstring with the task, and with the place where the engine does it;
- `learner`: imports, sometimes given code, and one function, with types and with the shapes in its docstring;
- `solution`, inside this function: its body. In the stub a NotImplementedError replaces it;
- `hints`: HINTS, four levels: the idea, the shapes, the steps, one line of the solution;
- `harness` (optional): `call(function, **inputs)`, if a call needs more than function(*inputs);
- `check`: LESSON, CONCEPTS; `cases(random)`, which yields inputs; PROPERTIES, functions of (inputs, result, run) whose
  docstring says what must be true of every correct result. `engine(**inputs)` (optional) computes the result with
  minillm's own function, which must agree with the solution. `plug(function)` (optional) returns
  {name in minillm: function} for `minillm generate --with`.

The file `bugs.py` in the same folder has plausible wrong answers with the same signature. The docstring of each one is
the message to a learner who makes this mistake. `minillm course check` tests all of this.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
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
        number: counted from 1, in the order of the lessons.
        name: the name of its function and of its file in a workspace.
        folder: the folder of its source files.
    """

    number: int
    name: str
    folder: Path

    @property
    def label(self) -> str:
        """Its number and name: `03_softmax`."""
        return f"{self.number:02}_{self.name}"

    @property
    def title(self) -> str:
        """The first line of its docstring."""
        return str(self.namespace["__doc__"]).splitlines()[0].rstrip(".")

    @cached_property
    def text(self) -> str:
        """The text of the source file."""
        return (self.folder / "exercise.py").read_text(encoding="utf-8")

    @cached_property
    def namespace(self) -> dict[str, Any]:
        """The names that the source file defines. It is our own code, so it runs in this process."""
        return run_source(self.text, str(self.folder / "exercise.py"))

    @cached_property
    def sections(self) -> dict[str, str]:
        """The text of every section by name. The docstring of the file has the empty name."""
        marks = list(MARKER.finditer(self.text))
        ends = [mark.start() for mark in marks[1:]] + [len(self.text)]
        cut = {mark["name"]: self.text[mark.end() : end] for mark, end in zip(marks, ends, strict=True)}
        return {"": self.text[: marks[0].start()], **cut}

    @property
    def stub(self) -> str:
        """The file with which a learner begins."""
        todo = f'    # TODO(you)\n    raise NotImplementedError("exercise {self.number}, {self.name}: {self.title}")\n'
        return self.sections[""] + self.sections["learner"].lstrip("\n") + todo

    @property
    def solution(self) -> str:
        """The stub with the body of the function."""
        return self.sections[""] + self.sections["learner"].lstrip("\n") + self.sections["solution"].rstrip() + "\n"

    @property
    def harness(self) -> str:
        """The source of the harness, or an empty string."""
        return self.sections.get("harness", "")

    @property
    def hints(self) -> tuple[str, ...]:
        """One hint for each of LEVELS."""
        return tuple(self.namespace["HINTS"])

    @property
    def lesson(self) -> int:
        """The number of its lesson."""
        return int(self.namespace["LESSON"])

    @property
    def concepts(self) -> tuple[str, ...]:
        """Keywords that select it in pytest, besides its name."""
        return tuple(self.namespace["CONCEPTS"])

    @property
    def engine(self) -> Callable[..., Any] | None:
        """The function that computes the same result with minillm's own code, if there is one."""
        return self.namespace.get("engine")

    @property
    def properties(self) -> tuple[Callable[..., bool], ...]:
        """Functions that test what must be true of every correct result."""
        return tuple(self.namespace.get("PROPERTIES", ()))

    @property
    def in_place(self) -> bool:
        """Whether the function is meant to change its inputs."""
        return bool(self.namespace.get("IN_PLACE", False))

    def cases(self, seed: int = 0) -> list[Inputs]:
        """Return the inputs of all cases, the smallest first, so that the first failing case is small."""
        return sorted(self.namespace["cases"](np.random.default_rng(seed)), key=size)

    def run(self, function: Callable[..., Any], inputs: Inputs) -> Any:
        """Call one of our own functions with a copy of the inputs."""
        own = copied(inputs)
        if "call" in self.namespace:
            return self.namespace["call"](function, **own)
        return function(*own.values())

    def expected(self, inputs: Inputs) -> Any:
        """Return the result of the solution."""
        return self.run(self.namespace[self.name], inputs)

    @cached_property
    def bugs_text(self) -> str:
        """The source of the bugs."""
        return (self.folder / "bugs.py").read_text(encoding="utf-8")

    @cached_property
    def bugs(self) -> dict[str, Callable[..., Any]]:
        """The bugs by name, in order."""
        namespace = run_source(self.bugs_text, str(self.folder / "bugs.py"))
        functions = {name: value for name, value in namespace.items() if isinstance(value, FunctionType)}
        return {name: value for name, value in functions.items() if name[0] != "_" and value.__module__ == "exercise"}


def all_exercises() -> list[Exercise]:
    """Return all exercises, in order.

    Raises:
        FileNotFoundError: if the exercises are missing.
    """
    found = list(_find())
    if not found:
        raise FileNotFoundError(f"{shipped('exercises')}: the exercises are missing; install minillm again")
    return found


def _find() -> Iterator[Exercise]:
    for folder in sorted(shipped("exercises").glob("[0-9][0-9]_*")):
        if (folder / "exercise.py").is_file():
            yield _exercise(folder)


@cache
def _exercise(folder: Path) -> Exercise:
    """Return the exercise of this folder, always the same one: its source is compiled once in a process."""
    number, name = folder.name.split("_", 1)
    return Exercise(int(number), name, folder)


def find_exercise(which: str) -> Exercise:
    """Return the exercise with this number or name.

    Raises:
        ValueError: if there is no such exercise.
    """
    exercises = all_exercises()
    for exercise in exercises:
        if which in (str(exercise.number), f"{exercise.number:02}", exercise.name, exercise.label):
            return exercise
    raise ValueError(f"there is no exercise {which[:40]!r}; expected a number from 1 to {len(exercises)}, or a name")


def run_source(text: str, file_name: str) -> dict[str, Any]:
    """Run one of our own sources. Return the names that it defines."""
    namespace: dict[str, Any] = {"__name__": "exercise"}
    exec(compile(text, file_name, "exec"), namespace)
    return namespace


def copied(value: Any) -> Any:
    """Return a copy of a value, including its arrays."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(item) for item in value)
    return value


def size(value: Any) -> int:
    """Return how many numbers a value has: what a learner must look at."""
    if isinstance(value, np.ndarray):
        return value.size
    if isinstance(value, dict):
        return sum(size(item) for item in value.values())
    if isinstance(value, list | tuple | str):
        return sum(size(item) for item in value) if not isinstance(value, str) else 1
    return 1
