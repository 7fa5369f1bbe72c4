"""Progress: store how far the reader is in each lesson, in one small JSON file."""

import contextlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from minillm.support.cache_folder import cache_folder
from minillm.support.checks import check_integer


@dataclass
class LessonProgress:
    """The progress in one lesson.

    Attributes:
        cell: the index of the current cell, from 0.
        finished: whether the end of the lesson has been reached.
        answers: the number of the correct attempt of each question, by the number of its cell; 0 if there was none.
    """

    cell: int = 0
    finished: bool = False
    answers: dict[str, int] = field(default_factory=dict)


def progress_file() -> Path:
    """Return the path of the file: in the folder `MINILLM_CACHE`, or in minillm's default folder."""
    return cache_folder() / "lessons.json"


def load_progress() -> dict[str, LessonProgress]:
    """Load the progress by name of the lesson. A damaged file counts as empty: then the lessons begin at cell 1."""
    try:
        stored = json.loads(progress_file().read_text(encoding="utf-8"))
        return {str(name): _checked(entry) for name, entry in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return {}


def save_progress(progress: dict[str, LessonProgress]) -> None:
    """Replace the file atomically. If it cannot be written, print one line and continue."""
    file = progress_file()
    partial = file.with_suffix(f".{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({name: asdict(entry) for name, entry in progress.items()}), encoding="utf-8")
        os.replace(partial, file)
    except OSError as problem:
        print(f"minillm: progress is not saved: {file}: {problem.strerror}", file=sys.stderr)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _checked(entry: Any) -> LessonProgress:
    """Return an entry of the file after a check, because the file may have been edited."""
    answers = {str(cell): check_integer("answer", tries, 0) for cell, tries in entry["answers"].items()}
    return LessonProgress(check_integer("cell", entry["cell"], 0), entry["finished"] is True, answers)
