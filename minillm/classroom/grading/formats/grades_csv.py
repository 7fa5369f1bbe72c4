"""CSV: one line for each learner, for spreadsheets and learning platforms."""

import csv
import re
from io import StringIO

from minillm.classroom.grading.result import NOT_HANDED_IN, Result

COLUMNS = ("learner", "score", "points", "out_of", "days_late", "handed_in", "isolation", "notes")

BEGINS_A_FORMULA = re.compile("(?:(?<=[,;\t\"'])|^)(?=[\\s\u200b\ufeff]*[-=+@|%\uff0d\uff1d\uff0b\uff20]|[\t\r])")


def grades_csv(results: list[Result]) -> str:
    """Return the table: the columns of COLUMNS, then the points of each exercise, empty if it was not handed in."""
    exercises = list(dict.fromkeys(label for result in results for label in result.exercises))
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*COLUMNS, *exercises])
    for one in results:
        numbers = (f"{one.score:g}", f"{one.points:g}", f"{one.out_of:g}", one.days_late)
        told = (one.handed_in, one.isolation, len(one.notes))
        table.writerow([guarded(one.learner), *numbers, *told, *(_cell(one, label) for label in exercises)])
    return text.getvalue()


def _cell(result: Result, label: str) -> str:
    handed_in = any(row.outcome != NOT_HANDED_IN for row in result.rows if row.exercise == label)
    return f"{result.of_exercise(label)[0]:g}" if handed_in else ""


def guarded(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: an apostrophe is put before each sign that begins one.

    A formula begins a cell. A spreadsheet may take a comma, a semicolon or a tab in the text for the end of one.

    >>> guarded("=1+1"), guarded("ada;=1+1"), guarded("ada-lin")
    ("'=1+1", "ada;'=1+1", 'ada-lin')
    """
    return BEGINS_A_FORMULA.sub("'", text)
