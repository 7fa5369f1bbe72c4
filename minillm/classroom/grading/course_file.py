"""Course file: which exercises count, their points, the due date and the late rule, in a small file `course.toml`.

exercises = "1-12"                   # default: all
due = 2026-12-10T23:59:00+01:00      # default: none; without an offset it is UTC
seed_per_learner = true              # hidden cases differ between learners; default: false
hunts = 2                            # bug hunts of each learner; default: 0
learners = ["ada", "bob"]            # who takes part; default: everybody who hands something in

[late]
percent_per_day = 10                 # of the points, for each begun day
days = 5                             # later than this, the score is 0

[points]                             # of an exercise; default: 1
softmax = 2
attention = 4
hunt = 3                             # of one bug hunt; default: 1
"""

import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unicodedata import normalize

from minillm.classroom.exercises.bughunt import all_bugs
from minillm.classroom.exercises.exercise import Exercise, all_exercises, find_exercise
from minillm.support.checks import check_bool, check_integer, shown
from minillm.support.files import read_ordinary_file
from minillm.support.printable import one_line

LARGEST = 100_000  # bytes
MOST_POINTS = 1000
LONGEST_NAME = 80  # of a learner
MOST_SEED = 1 << 32
DAY_S = 24 * 60 * 60
KEYS = ("exercises", "due", "seed", "seed_per_learner", "hunts", "learners", "late", "points")
HUNT = "hunt"  # the key of the points of a bug hunt


@dataclass(frozen=True)
class Course:
    """The rules of marking.

    Attributes:
        exercises: the exercises that count, in order.
        points: the points of each exercise, by its name.
        due: the due date, or None.
        percent_per_day: the percentage of the points that each begun day after the due date costs.
        days: begun days after the due date until which a submission counts; None for ever.
        seed: the seed of the hidden cases, or None for a new one.
        seed_per_learner: whether the hidden cases differ between learners.
        hunts: the number of bug hunts of each learner; which ones follows from the seed and the learner's name.
        hunt_points: the points of one bug hunt.
        learners: the names of those who take part, so that everybody has a row; empty if they are not known.
    """

    exercises: tuple[Exercise, ...]
    points: dict[str, float] = field(default_factory=dict)
    due: datetime | None = None
    percent_per_day: int = 0
    days: int | None = None
    seed: int | None = None
    seed_per_learner: bool = False
    hunts: int = 0
    hunt_points: float = 1.0
    learners: tuple[str, ...] = ()

    def points_of(self, exercise: Exercise) -> float:
        """Return the points of an exercise."""
        return self.points.get(exercise.name, 1.0)

    def days_late(self, handed_in: datetime | None) -> int:
        """Return the begun days after the due date, 0 if the submission is in time."""
        if self.due is None or handed_in is None:
            return 0
        return max(0, math.ceil((handed_in - self.due).total_seconds() / DAY_S))

    def score(self, points: float, days_late: int) -> float:
        """Return what the late rule leaves of the points.

        >>> Course((), percent_per_day=10, days=5).score(8.0, 2)
        6.4
        """
        if self.days is not None and days_late > self.days:
            return 0.0
        return round(points * max(0, 100 - self.percent_per_day * days_late) / 100, 2)

    @property
    def described(self) -> dict[str, Any]:
        """All that the marks of one submission depend on, as JSON values."""
        return {
            "exercises": [exercise.label for exercise in self.exercises],
            "points": {exercise.name: self.points_of(exercise) for exercise in self.exercises},
            "due": self.due.isoformat() if self.due else None,
            "late": [self.percent_per_day, self.days],
            "seed_per_learner": self.seed_per_learner,
            "hunts": [self.hunts, self.hunt_points],
        }


def read_course(file: Path | None, only: str | None = None) -> Course:
    """Return the course of a file; without a file, all exercises with one point each and no due date.

    Args:
        file: the path of a `course.toml`.
        only: the exercises that count, such as `1-12`, instead of those of the file.

    Raises:
        ValueError: if the file is not valid.
        OSError: if the file cannot be read.
    """
    try:
        course = _parsed(tomllib.loads(read_ordinary_file(file, LARGEST).decode("utf-8")) if file else {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ValueError(f"{file}: not valid TOML: {problem}") from None
    except ValueError as problem:
        raise ValueError(f"{file}: {problem}") from None
    return course if only is None else Course(**{**vars(course), "exercises": chosen(only)})


def course_text(course: Course) -> str:
    """Return the text of a `course.toml` with these rules."""
    lines = [f'exercises = "{",".join(exercise.name for exercise in course.exercises)}"']
    lines += [f"due = {course.due.isoformat()}"] if course.due else []
    lines += [f"seed = {course.seed}"] if course.seed is not None else []
    lines += [f"seed_per_learner = {str(course.seed_per_learner).lower()}", f"hunts = {course.hunts}"]
    lines += [f"learners = {json.dumps(course.learners, indent=4, ensure_ascii=False)}"] if course.learners else []
    lines += ["[late]"]
    lines += [f"percent_per_day = {course.percent_per_day}"]
    lines += [f"days = {course.days}"] if course.days is not None else []
    points = [f"{exercise.name} = {course.points_of(exercise):g}" for exercise in course.exercises]
    points += [f"{HUNT} = {course.hunt_points:g}"]
    return "\n".join([*lines, "[points]", *points, ""])


def chosen(text: str) -> tuple[Exercise, ...]:
    """Return the exercises of a list such as `1-12,softmax`, in order, each once.

    Raises:
        ValueError: if one of them does not exist.
    """
    found = {exercise.number: exercise for part in text.split(",") for exercise in _part(part.strip())}
    return tuple(found[number] for number in sorted(found))


def _part(part: str) -> Iterator[Exercise]:
    bounds = re.fullmatch(r"(\d{1,3})\s*-\s*(\d{1,3})", part)
    if bounds is None:
        yield find_exercise(part)
        return
    first, last = int(bounds[1]), int(bounds[2])
    if first > last:
        raise ValueError(f"{part} is not a range of exercises; expected the smaller number first, such as 1-12")
    for number in range(first, last + 1):
        yield find_exercise(str(number))


def _parsed(values: dict[str, Any]) -> Course:
    _check_keys("the course", values, KEYS)
    late, points = _table(values, "late"), _table(values, "points")
    _check_keys("[late]", late, ("percent_per_day", "days"))
    only = values.get("exercises", f"1-{len(all_exercises())}")
    if not isinstance(only, str):
        raise ValueError(f'exercises is {shown(only)}; expected a text such as "1-12"')
    check_bool("seed_per_learner", values.get("seed_per_learner", False))
    return Course(
        exercises=chosen(only),
        points={find_exercise(name).name: _points(name, value) for name, value in points.items() if name != HUNT},
        due=_due(values.get("due")),
        percent_per_day=check_integer("percent_per_day", late.get("percent_per_day", 0), 0, 100),
        days=check_integer("days", late["days"], 0) if "days" in late else None,
        seed=check_integer("seed", values["seed"], 0) if "seed" in values else None,
        seed_per_learner=values.get("seed_per_learner", False),
        hunts=check_integer("hunts", values.get("hunts", 0), 0, len(all_bugs())),
        hunt_points=_points(HUNT, points.get(HUNT, 1)),
        learners=checked_learners(values.get("learners", [])),
    )


def checked_learners(names: Any) -> tuple[str, ...]:
    """Return the names of those who take part, each in the one form in which names are compared.

    Raises:
        ValueError: if they are not a list of names, each once.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f'learners is {shown(names)}; expected a list of names, such as ["ada", "bob"]')
    learners = tuple(learner_name(name.strip()) for name in names)
    twice = next((name for name, count in Counter(learners).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"learners has {shown(twice)} twice; expected each name once")
    return learners


def learner_name(text: str) -> str:
    """Return a name on one line, and with each letter as one character: macOS writes an accent as a character.

    >>> len("e\u0301"), len(learner_name("e\u0301"))
    (2, 1)
    """
    return normalize("NFC", one_line(text))[:LONGEST_NAME]


def _check_keys(where: str, values: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in values:
        if key not in known:
            raise ValueError(f"{shown(key)} is not a key of {where}; expected one of {', '.join(known)}")


def _table(values: dict[str, Any], name: str) -> dict[str, Any]:
    table = values.get(name, {})
    if not isinstance(table, dict):
        raise ValueError(f"{name} is {shown(table)}; expected a table [{name}]")
    return table


def _points(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= MOST_POINTS or round(value, 2) != value:
        raise ValueError(f"the points of {name} are {shown(value)}; expected 0 to {MOST_POINTS}, at most two decimals")
    return float(value)


def _due(value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise ValueError(f"due is {shown(value)}; expected a date with a time, such as 2026-12-10T23:59:00+01:00")
    return value if value.tzinfo else value.replace(tzinfo=UTC)
