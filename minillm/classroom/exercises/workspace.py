"""Workspace: a learner's folder, one file for each exercise, and what was passed in it.

It is a folder of its own, never a part of minillm's source: nothing to fork, nothing to merge. What is known of the
learner's progress is one small JSON file, written as a whole or not at all, with the one before it kept beside it.
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
    """What is known of one exercise: whether it passed when it was last checked, and what it took."""

    passed: bool = False
    attempts: int = 0
    hints: int = 0
    gave_up: bool = False


class Workspace:
    """A folder that `start` made.

    Attributes:
        folder: where it is.
        not_kept: why what is known of the learner could not be written; nothing, if it could.
    """

    not_kept = ""

    def __init__(self, folder: Path) -> None:
        """An existing one.

        Raises:
            ValueError: this is none.
        """
        if not (folder / STATE).is_file() and not (folder / STATE).with_suffix(".bak").is_file():
            raise ValueError(f"{folder}: no exercises here; begin with `minillm exercise start DIR`")
        self.folder = folder

    @classmethod
    def start(cls, folder: Path) -> "Workspace":
        """Write a new one.

        Raises:
            ValueError: there is something of this name.
            OSError: it cannot be written.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} is there already; expected a new folder, or an empty one")
        parent = folder.absolute().parent
        if not parent.is_dir():
            raise ValueError(f"there is no folder {parent}")
        with (
            _named(folder),
            tempfile.TemporaryDirectory(dir=parent, prefix=".exercises-", ignore_cleanup_errors=True) as made,
        ):
            _fill(Path(made) / "new")
            (Path(made) / "new").replace(folder.absolute())  # all of it, or nothing
        return cls(folder)

    def file(self, exercise: Exercise) -> Path:
        """Where the learner writes."""
        return self.folder / f"{exercise.label}.py"

    def source(self, exercise: Exercise) -> str:
        """What the learner has written.

        Raises:
            ValueError: it is missing, too long, or no text.
            OSError: it cannot be read.
        """
        file = self.file(exercise)
        if not file.is_file():
            raise ValueError(f"{file} is missing; `minillm exercise reset {exercise.number}` writes it anew")
        return read_source(file)

    def reset(self, exercise: Exercise) -> Path | None:
        """Put the stub back; returns where the old file is now, if there was one."""
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
        """What is known of it."""
        return self._all().get(exercise.name, Progress())

    def note(self, exercise: Exercise, **changes: Any) -> Progress:
        """Change some of what is known of it. Where that cannot be written, it is in `not_kept`, and no error."""
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
            f"{self.folder / STATE}: damaged, and so is its copy; remove both, and put {{}} into the first: "
            "your answers are not in them"
        )


def read_source(file: Path) -> str:
    """The text of a learner's file.

    Raises:
        ValueError: it is too long, or no text.
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        data = stream.read(LONGEST_FILE + 1)
    if len(data) > LONGEST_FILE:
        raise ValueError(f"{file}: more than {LONGEST_FILE} bytes; expected an exercise")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: expected text in UTF-8") from None


def write_whole(file: Path, text: str) -> None:
    """Write a file so that it is never seen half-written.

    Raises:
        OSError: it cannot be written; the error names this file.
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
    """What cannot be written is told of this path: its reader has never heard of the temporary one beside it."""
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
            "# Exercises", "", "Open a file, read its docstring, write the function. Then, in this folder:", "",
            "```sh", "minillm exercise check 3     # or `watch`: checks whenever you save",
            "minillm exercise hint 3      # the idea; again: the shapes, the steps, one line",
            "minillm exercise status", "pytest -k kv_cache           # the same checks, by concept", "```", "",
            "| lesson | file | |", "| --- | --- | --- |", *rows, "",
        ]
    )  # fmt: skip


def _save(folder: Path, known: dict[str, Progress]) -> None:
    state = folder / STATE
    if state.is_file() and _read_state(state) is not None:
        write_whole(state.with_suffix(".bak"), state.read_text(encoding="utf-8"))
    write_whole(state, json.dumps({name: asdict(progress) for name, progress in known.items()}, indent=1))


def _read_state(path: Path) -> dict[str, Progress] | None:
    """The file's contents; None if it is missing or not what `_save` writes."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): _progress(values) for name, values in known.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return None


def _progress(values: dict[str, Any]) -> Progress:
    for field in fields(Progress):
        value = values.get(field.name, field.default)
        if type(value) is not type(field.default) or (type(value) is int and value < 0):
            raise ValueError(f"{field.name} is of another type")
    return Progress(**{field.name: values[field.name] for field in fields(Progress) if field.name in values})
