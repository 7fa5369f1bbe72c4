"""Progress: store how far the reader is in each lesson, in one small JSON file."""

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from minillm.classroom.player.lessons import Lesson
from minillm.support.cache_folder import cache_folder
from minillm.support.checks import check_integer
from minillm.support.data_folder import data_folder
from minillm.support.state_file import StateFile

NAME = "lessons.json"
NUMBER = re.compile(r"^\d\d_")  # before a topic


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


Known = dict[str, LessonProgress]  # by topic of the lesson, such as "attention"


def progress_file() -> Path:
    """Return the path of the file.

    Raises:
        OSError: if the user has no home folder.
    """
    return data_folder() / NAME


def load_progress() -> Known:
    """Load the progress by topic of the lesson. A damaged file counts as empty: then the lessons begin at cell 1."""
    try:
        return _stored().read()
    except OSError:
        return {}


def save_progress(topic: str, own: LessonProgress) -> None:
    """Store the progress of one lesson. A first answer that another terminal stored before is kept.

    Raises:
        OSError: if the file cannot be written.
    """

    def changed(known: Known) -> Known:
        earlier = known.get(topic, LessonProgress()).answers
        return known | {topic: LessonProgress(own.cell, own.finished, own.answers | earlier)}

    _update(changed)


def drop_progress(topic: str) -> None:
    """Remove the progress of one lesson.

    Raises:
        OSError: if the file cannot be written.
    """
    _update(lambda known: {key: entry for key, entry in known.items() if key != topic})


def next_lesson(lessons: Sequence[Lesson], known: Known) -> Lesson | None:
    """Return the lesson to go on with: the first that is begun, else the first that is not finished, or None."""
    left = [lesson for lesson in lessons if not known.get(lesson.topic, LessonProgress()).finished]
    begun = [lesson for lesson in left if lesson.topic in known and known[lesson.topic].cell]
    return next(iter(begun + left), None)


def _update(change: Callable[[Known], Known]) -> None:
    _stored().update(change)
    with contextlib.suppress(OSError):  # what was taken over
        _old_file().unlink(missing_ok=True)


def _stored() -> StateFile[Known]:
    return StateFile(progress_file(), _parsed, _packed, _taken_over())


def _old_file() -> Path:
    """Return where progress was stored before: in the cache, which may be cleared."""
    return cache_folder() / NAME


def _taken_over() -> Known:
    try:
        return StateFile(_old_file(), _parsed, _packed, Known()).read()
    except OSError:
        return {}


def _parsed(stored: Any) -> Known:
    """Return the entries of the file after a check, because the file may have been edited.

    Earlier versions stored the number of the lesson too: "04_prefill". Numbers change, so only the topic is used.
    """
    return {NUMBER.sub("", str(name)): _checked(entry) for name, entry in stored.items()}


def _packed(known: Known) -> Any:
    return {name: asdict(entry) for name, entry in known.items()}


def _checked(entry: Any) -> LessonProgress:
    answers = {str(cell): check_integer("answer", tries, 0) for cell, tries in entry["answers"].items()}
    return LessonProgress(check_integer("cell", entry["cell"], 0), entry["finished"] is True, answers)
