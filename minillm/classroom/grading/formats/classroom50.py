"""Classroom 50: the result as the `result.json` of an `autograder.py`, schema `classroom50/result/v1`.

The runner of Classroom 50 tells the autograder in environment variables what is graded, and adds `owner`,
`assignment_type` and `datetime` itself. Scores are integers there, so points are given in hundredths if they have
decimals. Source: schemas/result-v1.schema.json in the repository foundation50/classroom50.
"""

from collections.abc import Mapping
from typing import Any

from minillm.classroom.grading.feedback import details
from minillm.classroom.grading.result import Result

SCHEMA = "classroom50/result/v1"
TOLD = {
    "classroom": "CLASSROOM",
    "assignment": "ASSIGNMENT",
    "submission": "SUBMISSION_TAG",
    "commit": "COMMIT_URL",
    "release": "RELEASE_URL",
}


def classroom50(result: Result, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON object.

    Args:
        result: the result.
        environment: the variables that the runner sets.

    Raises:
        ValueError: if a variable is missing, or no check is planned. The runner must then report an error: a result of
            0 of 0 points would look like a pass.
    """
    missing = [name for name in TOLD.values() if not environment.get(name)]
    if missing:
        raise ValueError(f"expected the environment variables of Classroom 50's runner; missing: {', '.join(missing)}")
    if not result.rows or result.out_of == 0:
        raise ValueError("no check is planned, so there is nothing to grade; see course.toml")
    scale = 1 if all(row.out_of == int(row.out_of) for row in result.rows) else 100
    tests = [
        {
            "test-name": f"{row.exercise}: {row.title}",
            "passed": row.passed,
            "score": round(scale * row.points),
            "max-score": round(scale * row.out_of),
            "output": details(row),
        }
        for row in result.rows
    ]
    return {
        "schema": SCHEMA,
        **{key: environment[name] for key, name in TOLD.items()},
        "review": environment.get("REVIEW_URL") or environment["COMMIT_URL"],
        "score": int(scale * result.score + 1e-6),
        "max-score": round(scale * result.out_of),
        "tests": tests,
    }
