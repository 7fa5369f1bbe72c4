"""Grade: the result of one learner, and of a whole class.

The learner's code runs in worker processes and only computes. Everything that decides about marks happens here: which
inputs are sent, what is expected, whose result it is. A failure of one submission never reaches another one: each
exercise has a process of its own.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event

from minillm.classroom.grading.contents import RefusedError
from minillm.classroom.grading.course_file import MOST_SEED, Course
from minillm.classroom.grading.hunts import answers_in, bugs_of, hunt_rows
from minillm.classroom.grading.judge import grade_exercise, planned_rows
from minillm.classroom.grading.result import REFUSED, Result, Row, read_result, total, write_result
from minillm.classroom.grading.staging import Staged, claimed_progress, stage
from minillm.classroom.grading.submissions import Submission
from minillm.classroom.worker.worker import Failed, Worker
from minillm.support.printable import one_line

PROBE = "def probe(number):\n    return number + 1\n"
VERSION = 2  # of the rules of marking: change it when the same submission may get other marks


def grade_class(
    submissions: list[Submission],
    course: Course,
    seed: int,
    folder: Path,
    jobs: int,
    least: str,
    report: Callable[[Result, int], object],
) -> list[Result]:
    """Grade all submissions, `jobs` at a time. Return the results in the order of the submissions.

    Each result is written to `folder` as soon as it is known. A stored result of the same submission, course and seed
    is taken over, so a grading that was killed continues where it was.

    Args:
        submissions: what was handed in.
        course: the rules of marking.
        seed: the seed of the hidden cases.
        folder: an existing folder for the results.
        jobs: the number of learners that are graded at the same time.
        least: the lowest isolation level at which code may run.
        report: called with each result and the number of results so far.

    Raises:
        ValueError: if code ran at a lower level than `least`.
        OSError: if a result cannot be written, or no code can run here.
    """
    check_worker()
    results, cancelled = dict[int, Result](), Event()
    grade = partial(_grade_or_keep, course=course, seed=seed, least=least, cancelled=cancelled)
    with ThreadPoolExecutor(jobs) as pool:
        tasks = {
            pool.submit(grade, submission, folder / f"{submission.file}.json"): number
            for number, submission in enumerate(submissions)
        }
        try:
            for task in as_completed(tasks):
                results[tasks[task]] = task.result()
                report(task.result(), len(results))
        except BaseException:  # Ctrl-C, a full disk: start no further task, and no further exercise
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[number] for number in range(len(submissions))]


def check_worker() -> None:
    """Check that a process for a learner's code can run here: otherwise everybody would get 0 points.

    Raises:
        OSError: if it cannot; the message has the reason.
    """
    with Worker() as worker:
        loaded = worker.load(PROBE, "probe")
        answer = loaded if isinstance(loaded, Failed) else worker.call({"number": 20})
        if isinstance(answer, Failed) or answer.value != 21:
            why = answer.message if isinstance(answer, Failed) else f"20 + 1 is {answer.value!r}"
            last = worker.output.strip().splitlines()[-1:]
            text = one_line(": ".join([why, *last]))
            raise OSError(f"the process for learners' code does not work here, so nothing is graded: {text[:300]}")


def _grade_or_keep(
    submission: Submission, file: Path, course: Course, seed: int, least: str, cancelled: Event
) -> Result:
    handed_in = read_submission(submission, course)
    planned = planned_result(submission, handed_in, course, seed)
    stored = read_result(file)
    if stored is not None and stored.fingerprint == planned.fingerprint and (stored.isolation or least) >= least:
        return stored
    result = graded(planned, handed_in, course, cancelled)
    if (result.isolation or least) < least:
        raise ValueError(f"the code of {result.learner} ran at level {result.isolation}; {least} is required")
    write_result(file, result)
    return result


@dataclass(frozen=True)
class HandedIn:
    """What was read of a submission.

    Attributes:
        staged: the source of each exercise, by its label.
        notes: one line for each thing of note.
        claimed: the progress that the learner's own file claims.
        answers: the answers to bug hunts, by the names of the hunts.
        time: when it was handed in; None if nothing was.
        refused: why nothing of it could be read, or an empty string.
    """

    staged: dict[str, Staged] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    claimed: dict[str, dict[str, int]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    time: datetime | None = None
    refused: str = ""


def sources_of(submissions: list[Submission], course: Course) -> list[dict[str, str]]:
    """Return for each submission the source of each exercise that was handed in, by its label."""
    read = [read_submission(submission, course) for submission in submissions]
    return [{label: staged.source for label, staged in one.staged.items() if staged.source} for one in read]


def read_submission(submission: Submission, course: Course) -> HandedIn:
    """Read what a learner handed in. No code of it runs."""
    try:
        contents = submission.read()
        staged, notes = stage(contents, course.exercises)
        claimed, answers = claimed_progress(contents), answers_in(contents)
        return HandedIn(staged, notes, claimed, answers, submission.handed_in(contents))
    except (RefusedError, OSError) as problem:
        return HandedIn(refused=one_line(str(problem)), notes=(submission.note,) if submission.note else ())
    except Exception as problem:  # no submission may stop the grading of the others
        return HandedIn(refused=f"it cannot be read: {one_line(f'{type(problem).__name__}: {problem}')}")


def planned_result(submission: Submission, handed_in: HandedIn, course: Course, seed: int) -> Result:
    """Return the result of a learner before any code has run: every row is there, and only hunts are graded.

    Args:
        submission: whose result it is.
        handed_in: what was read of it.
        course: the rules of marking.
        seed: the seed of the hidden cases; with `seed_per_learner`, each learner's own seed is computed from it.
    """
    rows = [row for exercise in course.exercises for row in planned_rows(exercise, course.points_of(exercise))]
    bugs = bugs_of(submission.learner, seed, course.hunts)
    rows += hunt_rows(bugs, course.hunt_points, handed_in.answers)
    if handed_in.refused:
        rows = [replace(row, outcome=REFUSED, points=0.0, message=handed_in.refused) for row in rows]
    result = Result(
        learner=submission.learner, file=submission.file, rows=tuple(rows), points=0.0,
        out_of=total(row.out_of for row in rows), handed_in=handed_in.time.isoformat() if handed_in.time else "",
        days_late=course.days_late(handed_in.time), score=0.0, notes=handed_in.notes,
        used={label: (one.name, digest(one.source)) for label, one in handed_in.staged.items()},
        claimed=handed_in.claimed,
        seed=seed_of(submission.learner, seed) if course.seed_per_learner else seed,
        isolation="", locks=(), fingerprint="",
    )  # fmt: skip
    sources = [[exercise.text, exercise.bugs_text] for exercise in course.exercises]
    return replace(result, fingerprint=digest(json.dumps([VERSION, course.described, sources, asdict(result)])))


def graded(planned: Result, handed_in: HandedIn, course: Course, cancelled: Event) -> Result:
    """Return the result of a learner after running the code, or raise CancelledError as soon as `cancelled` is set."""
    rows, locks = list[Row](), list[tuple[str, ...]]()
    for exercise in course.exercises:
        if cancelled.is_set():
            raise CancelledError
        staged, points = handed_in.staged.get(exercise.label), course.points_of(exercise)
        if handed_in.refused or staged is None:
            rows += [row for row in planned.rows if row.exercise == exercise.label]
            continue
        with Worker() as worker:
            rows += grade_exercise(exercise, staged, points, planned.seed, worker)
            locks += [worker.locks] if worker.started else []
    rows += planned.rows[len(rows) :]  # the hunts, for which no code runs
    points = total(row.points for row in rows)
    in_force = tuple(name for name in (locks[0] if locks else ()) if all(name in others for others in locks))
    return replace(
        planned, rows=tuple(rows), points=points, score=course.score(points, planned.days_late),
        isolation=level(in_force) if locks else "", locks=in_force,
    )  # fmt: skip


def level(locks: Iterable[str]) -> str:
    """Return the isolation level of a process with these locks."""
    return "L1" if "namespaces" in locks else "L0"


def seed_of(learner: str, seed: int) -> int:
    """Return the seed of one learner's hidden cases."""
    return int(digest(f"{seed} {learner}"), 16) % MOST_SEED


def digest(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
