"""Bug hunt: find the function and the line of one planted bug, in an engine or in an estimate.

In an exercise the learner writes a function. Here all functions are written, and one line is wrong. The small engine in
exercises/bughunt works with `pytest --minillm-engine engine.py`. The estimate in the same folder has the correct
numbers in its docstring, for `python -m doctest estimates.py`. The bugs are mistakes that people really make.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm.classroom.exercises.exercise import run_source
from minillm.support.checks import check_integer
from minillm.support.shipped import shipped
from minillm.support.state_file import StateFile, write_whole


@dataclass(frozen=True)
class Bug:
    """A bug that can be planted."""

    kind: str  # "engine" or "estimates": the file
    function: str  # the function with the bug
    right: str  # the correct code; it occurs once in the file
    wrong: str  # the code that replaces it
    meaning: str  # an explanation of the bug


STATE = Path(".minillm") / "hunts.json"  # which bugs are found
SHOWN_BY = {"engine": "pytest --minillm-engine", "estimates": "python -m doctest"}  # the command that shows a failure


def all_bugs() -> list[Bug]:
    """Return all bugs in order: the engine's, then those of the estimates."""
    file = shipped("exercises") / "bughunt" / "bugs.py"
    entries = run_source(file.read_text(encoding="utf-8"), str(file))
    lists = {"engine": entries["BUGS"], "estimates": entries["ESTIMATE_BUGS"]}
    return [Bug(kind, *entry) for kind, bugs in lists.items() for entry in bugs]


def right_text(kind: str) -> str:
    """Return the source of the engine or of the estimates, without a bug."""
    return (shipped("exercises") / "bughunt" / f"{kind}.py").read_text(encoding="utf-8")


def planted(bug: Bug) -> str:
    """Return the source with this bug."""
    text = right_text(bug.kind)
    assert text.count(bug.right) == 1, f"expected one line {bug.right!r}"
    return text.replace(bug.right, bug.wrong)


def find_bug(number: int) -> Bug:
    """Return the bug with this number, counted from 1.

    Raises:
        ValueError: if there is no such bug.
    """
    bugs = all_bugs()
    if not 1 <= number <= len(bugs):
        raise ValueError(f"there is no hunt {number}; expected a number from 1 to {len(bugs)}")
    return bugs[number - 1]


def hunt_file(folder: Path, number: int) -> Path:
    """Write the file with this bug into a folder. An existing file is not changed.

    Raises:
        ValueError: if there is no such bug or no such folder.
        OSError: if the file cannot be written.
    """
    text, file = planted(find_bug(number)), folder / f"hunt_{number}.py"
    _check_folder(folder)
    if not file.exists():
        write_whole(file, text)
    return file


def place_of(bug: Bug) -> tuple[str, int]:
    """Return the function of a planted bug, and its line number."""
    text = planted(bug)
    line = text[: text.index(bug.wrong)].count("\n") + 1
    return bug.function, line


def answer(number: int, place: str) -> tuple[bool, str]:
    """Return whether the answer `place`, as `function:line`, is correct, and the feedback to it.

    Raises:
        ValueError: if `place` is not of the form `function:line`.
    """
    parts = re.fullmatch(r"(\w+) *: *(\d{1,6})", place.strip())
    if parts is None:
        raise ValueError(f"{place[:40]!r} is not an answer; expected function:line, such as attend:35")
    bug = find_bug(number)
    function, line = place_of(bug)
    if int(parts[2]) == line:  # the line alone is enough
        lines = f"  wrong:   {bug.wrong}\n  correct: {bug.right}\n"
        return True, f"Found: {function}, line {line}.\n{lines}{bug.meaning}"
    if parts[1] == function:
        return False, "Right function, wrong line."
    return False, "Wrong function and wrong line. Hint: compare the checks that fail with those that pass."


def found_bugs(folder: Path) -> list[int]:
    """Return the numbers of the bugs that were found in this folder; none if they cannot be read."""
    return _stored(folder).read()


def has_hunts(folder: Path) -> bool:
    """Return whether a folder has a file of a hunt, or found bugs."""
    return _stored(folder).exists or any(folder.glob("hunt_*.py"))


def damaged_hunts(folder: Path) -> Path | None:
    """Return the file with the numbers of the found bugs if it cannot be read."""
    stored = _stored(folder)
    return stored.path if stored.damaged else None


def next_bug(folder: Path) -> int | None:
    """Return the number of the first bug that is not found yet, or None if all are."""
    found = found_bugs(folder)
    return next((number for number in range(1, len(all_bugs()) + 1) if number not in found), None)


def note_found(folder: Path, number: int) -> None:
    """Store that a bug is found.

    Raises:
        ValueError: if there is no such folder.
        OSError: if it cannot be stored.
    """
    _check_folder(folder)
    _stored(folder).update(lambda found: sorted({*found, number}))


def _stored(folder: Path) -> StateFile[list[int]]:
    return StateFile(folder / STATE, _parsed, list, [])


def _parsed(found: Any) -> list[int]:
    return [check_integer("bug", number, 1) for number in list(found)]


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
