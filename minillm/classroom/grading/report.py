"""Report: write all files about a graded class into the folder of the results.

results/
  grades.csv  junit.xml  integrity.md
  grading.json                                       the seed of the hidden cases
  learners/ada.json  ada.md  ada.html                the result and the feedback, for each learner
  gradescope/ada.json                                with --gradescope
"""

import json
import secrets
from pathlib import Path

from minillm.classroom.grading.course_file import MOST_SEED
from minillm.classroom.grading.feedback import html_page, markdown_page
from minillm.classroom.grading.formats.grades_csv import grades_csv
from minillm.classroom.grading.formats.gradescope import gradescope
from minillm.classroom.grading.formats.junit import junit
from minillm.classroom.grading.integrity import integrity_report
from minillm.classroom.grading.result import Result
from minillm.support.checks import check_integer
from minillm.support.files import read_json
from minillm.support.state_file import write_whole

LEARNERS, GRADESCOPE, SEED_FILE = "learners", "gradescope", "grading.json"
LARGEST = 10_000  # bytes


def seed_of_folder(folder: Path, seed: int | None) -> int:
    """Return the seed of the hidden cases: the given one, else that of an earlier grading, else a new one. Store it.

    Raises:
        ValueError: if the stored seed cannot be read.
        OSError: if the folder cannot be written.
    """
    file = folder / SEED_FILE
    if seed is None and file.exists():
        return check_integer(f"the seed of {file}", read_json(file, LARGEST).get("seed"), 0)
    seed = secrets.randbelow(MOST_SEED) if seed is None else seed
    write_whole(file, json.dumps({"seed": seed}) + "\n")
    return seed


def write_learner(folder: Path, result: Result, for_gradescope: bool) -> None:
    """Write the feedback pages of one learner next to the stored result, and Gradescope's `results.json` if wanted.

    Raises:
        OSError: if a file cannot be written.
    """
    write_whole(folder / LEARNERS / f"{result.file}.md", markdown_page(result))
    write_whole(folder / LEARNERS / f"{result.file}.html", html_page(result))
    if for_gradescope:
        (folder / GRADESCOPE).mkdir(exist_ok=True)
        write_whole(folder / GRADESCOPE / f"{result.file}.json", json.dumps(gradescope(result), indent=1) + "\n")


def write_tables(folder: Path, results: list[Result], sources: list[dict[str, str]]) -> None:
    """Write the tables of the whole class.

    Args:
        folder: the folder of the results.
        results: the results of the class.
        sources: for each of them, the source of each exercise that was handed in, by its label.

    Raises:
        OSError: if a file cannot be written.
    """
    write_whole(folder / "grades.csv", grades_csv(results))
    write_whole(folder / "junit.xml", junit(results))
    write_whole(folder / "integrity.md", integrity_report(results, sources))
