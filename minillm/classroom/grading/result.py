"""Result: what grading found out about one learner. Every page, table and export is a view of it.

A result has one row for every planned check of every exercise, also if the file is missing, crashes or cannot be read.
It contains nothing that differs between two gradings of the same submission, such as the time of the grading. So the
same submission, course and seed give the same file, byte by byte.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from minillm.support.files import read_json
from minillm.support.state_file import write_whole

FORMAT = 1  # of the JSON file
LARGEST = 20_000_000  # bytes of a result that is read again
PASSED, FAILED, CRASHED = "passed", "failed", "crashed"
TIMED_OUT, NOT_HANDED_IN, REFUSED = "timed out", "not handed in", "refused"
OUTCOMES = (PASSED, FAILED, CRASHED, TIMED_OUT, NOT_HANDED_IN, REFUSED)


@dataclass(frozen=True)
class Row:
    """One planned check of one exercise.

    Attributes:
        exercise: the label of the exercise, such as `03_softmax`.
        check: its name within the exercise: `cases`, `property 1`, `property 2`, ...
        title: what must be true to pass it.
        outcome: one of OUTCOMES.
        points: the points given: `out_of` if it passed, else 0.
        out_of: the points that it is worth, with at most two decimals.
        message: what is wrong, in one sentence; an empty string if it passed.
        known_mistake: the known mistake that the function behaves like, in one or two sentences.
        line: the line of the learner's file that raised an exception.
        table: (index, yours, expected, "differs" or "") of a small slice.
        example: the inputs of the failing case, as text.
        printed: the beginning of what the code printed.
    """

    exercise: str
    check: str
    title: str
    outcome: str
    points: float
    out_of: float
    message: str = ""
    known_mistake: str = ""
    line: int | None = None
    table: tuple[tuple[str, ...], ...] = ()
    example: str = ""
    printed: str = ""

    @property
    def passed(self) -> bool:
        """Whether the check passed."""
        return self.outcome == PASSED


@dataclass(frozen=True)
class Result:
    """The result of one learner.

    Attributes:
        learner: the name of the submission. It comes from the file name, never from the learner's code.
        file: the name of the files that are written about this learner, without their ending.
        rows: one for each planned check, in the order of the exercises.
        points: the sum of the rows' points.
        out_of: the sum of the points that the rows are worth.
        handed_in: the time of the submission (ISO 8601), or "" if nothing was handed in.
        days_late: begun days after the due date.
        score: the points after the late rule.
        notes: one line for each thing in the submission that was left out, or read in another way than it was named.
        used: for each exercise, the name of the file that was graded, and the SHA-256 of its text.
        claimed: attempts, hints and solutions shown, by exercise. The learner's own file says so and may be edited.
        seed: the seed of the hidden cases.
        isolation: the weakest isolation level under which code ran: "L0" or "L1" (docs/teaching.md); "" if no code ran.
        locks: the kernel's locks that were in force for all code.
        fingerprint: SHA-256 of all that the result depends on. It tells whether a stored result is still valid.
    """

    learner: str
    file: str
    rows: tuple[Row, ...]
    points: float
    out_of: float
    handed_in: str
    days_late: int
    score: float
    notes: tuple[str, ...]
    used: dict[str, tuple[str, str]]
    claimed: dict[str, dict[str, int]]
    seed: int
    isolation: str
    locks: tuple[str, ...]
    fingerprint: str

    def of_exercise(self, label: str) -> tuple[float, float]:
        """Return the points of one exercise, and how many it is worth."""
        rows = [row for row in self.rows if row.exercise == label]
        return total(row.points for row in rows), total(row.out_of for row in rows)

    @property
    def exercises(self) -> list[str]:
        """The labels of the exercises, each once."""
        return list(dict.fromkeys(row.exercise for row in self.rows))


def total(points: Any) -> float:
    """Return the sum of points with two decimals, free of rounding errors.

    >>> total([0.1, 0.2])
    0.3
    """
    return sum(round(100 * value) for value in points) / 100


def write_result(file: Path, result: Result) -> None:
    """Write a result atomically as JSON: a killed grading leaves the whole file or none.

    Raises:
        OSError: if the file cannot be written.
    """
    write_whole(file, json.dumps({"format": FORMAT, **asdict(result)}, indent=1) + "\n")


def read_result(file: Path) -> Result | None:
    """Return a stored result, or None if there is none or it was damaged."""
    try:
        values = read_json(file, LARGEST)
        if values.pop("format") != FORMAT:
            return None
        rows = tuple(Row(**{**row, "table": tuple(map(tuple, row["table"]))}) for row in values.pop("rows"))
        if {row.outcome for row in rows} - set(OUTCOMES) or set(values) | {"rows"} != {f.name for f in fields(Result)}:
            return None
        used = {label: (name, digest) for label, (name, digest) in values.pop("used").items()}
        notes, locks = tuple(values.pop("notes")), tuple(values.pop("locks"))
        return Result(rows=rows, used=used, notes=notes, locks=locks, **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
