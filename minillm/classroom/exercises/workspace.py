"""Workspace: a learner's folder with one file for each exercise, and the learner's progress.

It is separate from minillm's source, so a learner needs no fork and no merge. A workspace is known by the names of its
files, so files that were collected from learners are one, too. The progress is one small JSON file, which is optional.
Another one says which exercises were handed out; without it these are all.
"""

import os
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from minillm.classroom.exercises.exercise import Exercise, all_exercises
from minillm.support.files import read_ordinary_file
from minillm.support.state_file import StateFile, named, set_aside, written_next_to
from minillm.support.wording import failure_text

STATE = Path(".minillm") / "exercises.json"
HANDED_OUT = Path(".minillm") / "handed_out.json"
LONGEST_FILE = 1_000_000  # bytes
PYTEST_INI = "# Makes this folder a pytest project of its own: `pytest` here checks the exercises.\n[pytest]\n"


@dataclass(frozen=True)
class Progress:
    """The progress of one exercise: whether its last check passed, and the number of attempts and hints."""

    passed: bool = False
    attempts: int = 0
    hints: int = 0
    gave_up: bool = False


Known = dict[str, Progress]  # by name of the exercise


class Workspace:
    """A folder with files of exercises, such as `start` makes.

    Attributes:
        folder: its path.
        not_kept: why the progress could not be written; an empty string if it could.
    """

    not_kept = ""

    def __init__(self, folder: Path) -> None:
        """Open an existing workspace.

        Raises:
            ValueError: if the folder is not a workspace.
        """
        self.folder, self._stored = folder, _progress_file(folder)
        if not is_workspace(folder):
            raise ValueError(f"{folder}: no exercises here; begin with `minillm exercise start DIR`")

    @classmethod
    def start(cls, folder: Path, exercises: Sequence[Exercise] | None = None) -> "Workspace":
        """Write a new workspace with these exercises, by default all.

        Raises:
            ValueError: if the folder exists and is not empty, or its parent folder does not exist.
            OSError: if the folder cannot be written.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} exists already; expected a new folder, or an empty one")
        parent = folder.absolute().parent
        if not parent.is_dir():
            raise ValueError(f"there is no folder {parent}")
        with (
            named(folder),
            tempfile.TemporaryDirectory(dir=parent, prefix=".exercises-", ignore_cleanup_errors=True) as made,
        ):
            _fill(Path(made) / "new", list(exercises or all_exercises()))
            (Path(made) / "new").replace(folder.absolute())  # atomic
        return cls(folder)

    @property
    def damaged(self) -> Path | None:
        """The file of the progress if it cannot be read. Then no progress is known."""
        return self._stored.path if self._stored.damaged else None

    @property
    def exercises(self) -> list[Exercise]:
        """The exercises that were handed out, and others whose file is there, in order."""
        names = _handed_out(self.folder).read()
        known = all_exercises()
        if not any(exercise.name in names for exercise in known):
            return known
        return [exercise for exercise in known if exercise.name in names or os.path.lexists(self.file(exercise))]

    def file(self, exercise: Exercise) -> Path:
        """Return the path of the learner's file."""
        return self.folder / f"{exercise.label}.py"

    def source(self, exercise: Exercise) -> str:
        """Return the text of the learner's file.

        Raises:
            ValueError: if the file is missing, too long or not text.
            OSError: if the file cannot be read.
        """
        file = self.file(exercise)
        if not os.path.lexists(file):
            there = "" if self.folder == Path() else f" --dir {shlex.quote(str(self.folder))}"
            raise ValueError(f"{file} is missing; `minillm exercise reset {exercise.number}{there}` writes it again")
        return read_source(file)

    def is_untouched(self, exercise: Exercise) -> bool:
        """Return whether the learner's file is the stub."""
        try:
            return self.source(exercise) == exercise.stub
        except (ValueError, OSError):
            return False

    def reset(self, exercise: Exercise) -> Path | None:
        """Write the stub again. Return the path of the backup of the old file, or None if there was no file.

        Raises:
            OSError: if the stub cannot be written, as on a full disk. The old file is unchanged then.
        """
        file = self.file(exercise)
        with named(file), written_next_to(file, exercise.stub) as stub:
            backup = set_aside(file) if os.path.lexists(file) else None
            try:
                stub.replace(file)
            except OSError:
                if backup is not None:
                    backup.replace(file)
                raise
        self.note(exercise, lambda progress: replace(progress, passed=False))
        return backup

    def progress(self, exercise: Exercise) -> Progress:
        """Return the progress of an exercise."""
        return self._stored.read().get(exercise.name, Progress())

    def note(self, exercise: Exercise, change: Callable[[Progress], Progress]) -> Progress:
        """Change the progress of an exercise. If it cannot be written, set `not_kept` and raise no error.

        Other commands that run at the same time wait, so no change is lost.
        """

        def changed(known: Known) -> Known:
            return known | {exercise.name: change(known.get(exercise.name, Progress()))}

        try:
            return self._stored.update(changed)[exercise.name]
        except OSError as problem:
            self.not_kept = failure_text(problem)
            return change(self.progress(exercise))


def is_workspace(folder: Path) -> bool:
    """Return whether a folder has files of exercises, or progress in them."""
    names = [f"{exercise.label}.py" for exercise in all_exercises()]
    return _progress_file(folder).exists or any((folder / name).is_file() for name in names)


def is_exercise_file(file: Path) -> bool:
    """Return whether a file belongs to an exercise: by its name, and by its workspace or the function in it."""
    exercise = next((exercise for exercise in all_exercises() if f"{exercise.label}.py" == file.name), None)
    if exercise is None or not file.is_file():
        return False
    try:
        return _progress_file(file.parent).exists or f"def {exercise.name}(" in read_source(file)
    except (ValueError, OSError):
        return False


def read_source(file: Path) -> str:
    """Return the text of a learner's file.

    Raises:
        ValueError: if the file is too long or not text.
        OSError: if the file cannot be read, or is a pipe or a device.
    """
    data = read_ordinary_file(file, LONGEST_FILE)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: expected text in UTF-8") from None


def _fill(folder: Path, exercises: list[Exercise]) -> None:
    folder.mkdir()
    for exercise in exercises:
        (folder / f"{exercise.label}.py").write_text(exercise.stub, encoding="utf-8")
    if len(exercises) < len(all_exercises()):
        _handed_out(folder).update(lambda names: [exercise.name for exercise in exercises])
    (folder / "README.md").write_text(_readme(exercises), encoding="utf-8")
    (folder / "pytest.ini").write_text(PYTEST_INI, encoding="utf-8")
    _progress_file(folder).update(lambda known: known)


def _readme(exercises: list[Exercise]) -> str:
    by_lesson = sorted(exercises, key=lambda exercise: (exercise.lesson, exercise.number))
    rows = [f"| {e.lesson} | `{e.label}.py` | {e.title} |" for e in by_lesson]
    number, concept = f"{by_lesson[0].number:<4}", f"{by_lesson[0].concepts[0]:<11}"
    return "\n".join(
        [
            "# Exercises", "", "Open a file, read its docstring and write the function. Then run in this folder:", "",
            "```sh", f"minillm exercise check {number}  # or `watch`: checks a file each time you save it",
            f"minillm exercise hint {number}   # the next hint: the idea, the shapes, the steps, one line",
            "minillm exercise status", f"pytest -k {concept}        # the same checks, selected by concept", "```", "",
            "| lesson | file | |", "| --- | --- | --- |", *rows, "",
        ]
    )  # fmt: skip


def _progress_file(folder: Path) -> StateFile[Known]:
    return StateFile(folder / STATE, _parsed, _packed, Known())


def _handed_out(folder: Path) -> StateFile[list[str]]:
    return StateFile(folder / HANDED_OUT, lambda names: [str(name) for name in list(names)], list, [])


def _parsed(known: Any) -> Known:
    return {str(name): _progress(values) for name, values in known.items()}


def _packed(known: Known) -> Any:
    return {name: asdict(progress) for name, progress in known.items()}


def _progress(values: dict[str, Any]) -> Progress:
    for field in fields(Progress):
        value = values.get(field.name, field.default)
        if type(value) is not type(field.default) or (type(value) is int and value < 0):
            raise ValueError(f"{field.name} has a wrong type or value")
    return Progress(**{field.name: values[field.name] for field in fields(Progress) if field.name in values})
