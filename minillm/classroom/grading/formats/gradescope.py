"""Gradescope: the result as the `results.json` of an autograder.

Source: Gradescope's documentation of autograders, "Output format" (gradescope-autograders.readthedocs.io/specs).
"""

from typing import Any

from minillm.classroom.grading.feedback import details
from minillm.classroom.grading.result import Result, Row
from minillm.support.wording import counted


def gradescope(result: Result) -> dict[str, Any]:
    """Return the JSON object: one test for each row. `score` is given, too, because the late rule changes the sum.

    Learners see all of it but `extra_data`. So only that has the seed, from which the hidden cases can be computed.
    """
    notes = [f"isolation {result.isolation or 'not needed, no code ran'}", *result.notes]
    if result.days_late:
        notes.insert(0, f"{counted(result.days_late, 'day')} late: {result.points:g} points before the late rule")
    return {
        "score": result.score,
        "output": "\n".join(notes),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "stdout_visibility": "hidden",
        "tests": [_test(number, row) for number, row in enumerate(result.rows, start=1)],
        "extra_data": {"fingerprint": result.fingerprint, "seed": result.seed, "isolation": result.isolation},
    }


def _test(number: int, row: Row) -> dict[str, Any]:
    return {
        "number": str(number),
        "name": f"{row.exercise}: {row.title}",
        "score": row.points,
        "max_score": row.out_of,
        "status": "passed" if row.passed else "failed",
        "output": details(row),
        "tags": [row.exercise, row.outcome],
    }
