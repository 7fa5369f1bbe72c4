"""Bug hunt: an engine, or an estimate, with one planted bug. Find the function and the line.

The other way round from an exercise: all is written, and one thing is wrong. The engine is the small one in
exercises/bughunt, which works with `pytest --minillm-engine engine.py`; the estimate beside it has the right figures in
its docstring, for `python -m doctest estimates.py`. The bugs are those that are made in earnest.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from minillm.classroom.exercises.exercise import run_source
from minillm.classroom.exercises.workspace import write_whole
from minillm.support.shipped import shipped


@dataclass(frozen=True)
class Bug:
    """One that can be planted: in what, in which function, the line as it is, as it will be, and what it does."""

    kind: str  # "engine" or "estimates"
    function: str
    right: str
    wrong: str
    meaning: str


SHOWN_BY = {"engine": "pytest --minillm-engine", "estimates": "python -m doctest"}  # what shows that something is wrong


def all_bugs() -> list[Bug]:
    """The bugs, in order: the engine's, then those of the estimates."""
    file = shipped("exercises") / "bughunt" / "bugs.py"
    entries = run_source(file.read_text(encoding="utf-8"), str(file))
    lists = {"engine": entries["BUGS"], "estimates": entries["ESTIMATE_BUGS"]}
    return [Bug(kind, *entry) for kind, bugs in lists.items() for entry in bugs]


def right_text(kind: str) -> str:
    """The engine, or the estimates, without a bug."""
    return (shipped("exercises") / "bughunt" / f"{kind}.py").read_text(encoding="utf-8")


def planted(bug: Bug) -> str:
    """The same with this bug."""
    text = right_text(bug.kind)
    assert text.count(bug.right) == 1, f"expected one line {bug.right!r}"
    return text.replace(bug.right, bug.wrong)


def find_bug(number: int) -> Bug:
    """The bug of this number, from 1.

    Raises:
        ValueError: there is none.
    """
    bugs = all_bugs()
    if not 1 <= number <= len(bugs):
        raise ValueError(f"there is no hunt {number}; expected a number from 1 to {len(bugs)}")
    return bugs[number - 1]


def hunt_file(folder: Path, number: int) -> Path:
    """Write the file with the bug of this number into a folder; one that is there already stays as it is.

    Raises:
        ValueError: there is no such bug, or no such folder.
        OSError: it cannot be written.
    """
    text, file = planted(find_bug(number)), folder / f"hunt_{number}.py"
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    if not file.exists():
        write_whole(file, text)
    return file


def place_of(bug: Bug) -> tuple[str, int]:
    """The function of a planted bug, and its line."""
    text = planted(bug)
    line = text[: text.index(bug.wrong)].count("\n") + 1
    return bug.function, line


def answer(number: int, guess: str) -> tuple[bool, str]:
    """Whether a guess, `function:line`, is right, and what to say about it.

    Raises:
        ValueError: it is no guess.
    """
    parts = re.fullmatch(r"(\w+):(\d{1,6})", guess.strip())
    if parts is None:
        raise ValueError(f"{guess[:40]!r} is no answer; expected function:line, such as attend:35")
    bug = find_bug(number)
    function, line = place_of(bug)
    if int(parts[2]) == line:  # whoever has the line has found it
        lines = f"  as it is:      {bug.wrong}\n  as it must be: {bug.right}\n"
        return True, f"Found: {function}, line {line}.\n{lines}{bug.meaning}"
    if parts[1] == function:
        return False, "The function is right, the line is another."
    return False, "It is somewhere else. What do the properties that fail have in common?"
