"""Workspace: a learner's folder with one file for each exercise, and the learner's progress.

It is separate from minillm's source, so a learner needs no fork and no merge. The progress is one small JSON file. It
is replaced atomically, and a backup of the version before is kept in the same folder.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from minillm.classroom.exercises.exercise import Exercise, all_exercises

STATE = Path(".minillm") / "exercises.json"
LONGEST_FILE = 1_000_000  # bytes
PYTEST_INI = "# Makes this folder a pytest project of its own: `pytest` here checks the exercises.\n[pytest]\n"


@dataclass(frozen=True)
class Progress:
    """The progress of one exercise: whether its last check passed, and the number of attempts and hints."""

    passed: bool = False
    attempts: int = 0
    hints: int = 0
    gave_up: bool = False


class Workspace:
    """A folder that `start` made.

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
        if not (folder / STATE).is_file() and not (folder / STATE).with_suffix(".bak").is_file():
            raise ValueError(f"{folder}: no exercises here; begin with `minillm exercise start DIR`")
        self.folder = folder

    @classmethod
    def start(cls, folder: Path) -> "Workspace":
        """Write a new workspace.

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
            _named(folder),
            tempfile.TemporaryDirectory(dir=parent, prefix=".exercises-", ignore_cleanup_errors=True) as made,
        ):
            _fill(Path(made) / "new")
            (Path(made) / "new").replace(folder.absolute())  # atomic
        return cls(folder)

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
        if not file.is_file():
            raise ValueError(f"{file} is missing; `minillm exercise reset {exercise.number}` writes it again")
        return read_source(file)

    def reset(self, exercise: Exercise) -> Path | None:
        """Write the stub again. Return the path of the backup of the old file, or None if there was no file."""
        file = self.file(exercise)
        number = 1
        while (backup := file.with_name(f"{file.name}.{number}.bak")).exists():
            number += 1
        kept = file.exists()
        if kept:
            file.replace(backup)
        write_whole(file, exercise.stub)
        self.note(exercise, passed=False)
        return backup if kept else None

    def progress(self, exercise: Exercise) -> Progress:
        """Return the progress of an exercise."""
        return self._all().get(exercise.name, Progress())

    def note(self, exercise: Exercise, **changes: Any) -> Progress:
        """Change the progress of an exercise. If it cannot be written, set `not_kept` and raise no error."""
        known = self._all()
        known[exercise.name] = Progress(**{**asdict(known.get(exercise.name, Progress())), **changes})
        try:
            _save(self.folder, known)
        except OSError as problem:
            self.not_kept = f"{self.folder / STATE}: {problem.strerror}"
        return known[exercise.name]

    def _all(self) -> dict[str, Progress]:
        for path in (self.folder / STATE, (self.folder / STATE).with_suffix(".bak")):
            known = _read_state(path)
            if known is not None:
                return known
        raise ValueError(
            f"{self.folder / STATE} and its backup are damaged; remove both files and write {{}} into the first one "
            "(your solutions are in other files)"
        )


def read_source(file: Path) -> str:
    """Return the text of a learner's file.

    Raises:
        ValueError: if the file is too long or not text.
        OSError: if the file cannot be read.
    """
    with file.open("rb") as stream:
        data = stream.read(LONGEST_FILE + 1)
    if len(data) > LONGEST_FILE:
        raise ValueError(f"{file} has more than {LONGEST_FILE} bytes; expected an exercise")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: expected text in UTF-8") from None


def write_whole(file: Path, text: str) -> None:
    """Write a file atomically: other programs never see a half-written file.

    Raises:
        OSError: if the file cannot be written. The error names this file, not the temporary one.
    """
    with _named(file):
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(name, 0o644)
            os.replace(name, file)
        except BaseException:
            os.unlink(name)
            raise


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an OSError name this path, because the user does not know the temporary file."""
    try:
        yield
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror, str(path)) from None


def _fill(folder: Path) -> None:
    (folder / STATE).parent.mkdir(parents=True)
    for exercise in all_exercises():
        (folder / f"{exercise.label}.py").write_text(exercise.stub, encoding="utf-8")
    (folder / "README.md").write_text(_readme(), encoding="utf-8")
    (folder / "pytest.ini").write_text(PYTEST_INI, encoding="utf-8")
    _save(folder, {})


def _readme() -> str:
    rows = [f"| {e.lesson} | `{e.label}.py` | {e.title} |" for e in all_exercises()]
    return "\n".join(
        [
            "# Exercises", "", "Open a file, read its docstring and write the function. Then run in this folder:", "",
            "```sh", "minillm exercise check 3     # or `watch`: checks a file each time you save it",
            "minillm exercise hint 3      # the next hint: the idea, the shapes, the steps, one line",
            "minillm exercise status", "pytest -k kv_cache           # the same checks, selected by concept", "```", "",
            "| lesson | file | |", "| --- | --- | --- |", *rows, "",
        ]
    )  # fmt: skip


def _save(folder: Path, known: dict[str, Progress]) -> None:
    state = folder / STATE
    if state.is_file() and _read_state(state) is not None:
        write_whole(state.with_suffix(".bak"), state.read_text(encoding="utf-8"))
    write_whole(state, json.dumps({name: asdict(progress) for name, progress in known.items()}, indent=1))


def _read_state(path: Path) -> dict[str, Progress] | None:
    """Return the contents of the file, or None if it is missing or invalid."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): _progress(values) for name, values in known.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return None


def _progress(values: dict[str, Any]) -> Progress:
    for field in fields(Progress):
        value = values.get(field.name, field.default)
        if type(value) is not type(field.default) or (type(value) is int and value < 0):
            raise ValueError(f"{field.name} has a wrong type or value")
    return Progress(**{field.name: values[field.name] for field in fields(Progress) if field.name in values})
