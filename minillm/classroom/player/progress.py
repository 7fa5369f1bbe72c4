"""Progress: how far the reader is in each lesson, in one small file that outlives the session."""

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
    """One lesson.

    Attributes:
        cell: the cell to go on with, from 0.
        finished: whether its end has been reached.
        answers: for each question, by the number of its cell: on which try it was right; 0, it was shown.
    """

    cell: int = 0
    finished: bool = False
    answers: dict[str, int] = field(default_factory=dict)


def progress_file() -> Path:
    """Where it is kept: in the folder that `MINILLM_CACHE` names, or in minillm's own."""
    return cache_folder() / "lessons.json"


def load_progress() -> dict[str, LessonProgress]:
    """By the name of the lesson. A file that is damaged counts as none: at worst a lesson begins anew."""
    try:
        stored = json.loads(progress_file().read_text(encoding="utf-8"))
        return {str(name): _checked(entry) for name, entry in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return {}


def save_progress(progress: dict[str, LessonProgress]) -> None:
    """Replace the file, atomically. Where it cannot be written, one line says so, and the lesson goes on."""
    file = progress_file()
    partial = file.with_suffix(f".{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({name: asdict(entry) for name, entry in progress.items()}), encoding="utf-8")
        os.replace(partial, file)
    except OSError as problem:
        print(f"minillm: progress is not kept: {file}: {problem.strerror}", file=sys.stderr)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _checked(entry: Any) -> LessonProgress:
    """An entry of the file, which anybody may have edited."""
    answers = {str(cell): check_integer("answer", tries, 0) for cell, tries in entry["answers"].items()}
    return LessonProgress(check_integer("cell", entry["cell"], 0), entry["finished"] is True, answers)
