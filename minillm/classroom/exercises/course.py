"""The course check: does every part of the course do what it is there for?

A check that nothing fails is worth nothing, so it is tried on wrong answers: every stub fails as not started, every
solution passes, every bug fails with a message of its own, every hint says something. And every lesson runs.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from minillm.classroom.exercises.checker import Verdict, check
from minillm.classroom.exercises.exercise import LEVELS, Exercise, all_exercises
from minillm.classroom.worker.worker import Worker
from minillm.support.shipped import PACKAGE, shipped

FEWEST_BUGS = 4
MOST_LINES = 20  # of a solution
LESSON_SECONDS = 60


@dataclass(frozen=True)
class Part:
    """One exercise or lesson, and what is wrong with it; nothing, if all is well."""

    name: str
    problems: tuple[str, ...]


def check_course(report: Callable[[Part], object], jobs: int | None = None) -> list[Part]:
    """Check everything, several parts at a time; `report` is called with each as it is done."""
    parts = []
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        tasks = [pool.submit(check_lesson, lesson) for lesson in all_lessons()]  # they take longest
        tasks += [pool.submit(check_exercise, exercise) for exercise in all_exercises()]
        try:
            for task in as_completed(tasks):
                parts.append(task.result())
                report(parts[-1])
        except BaseException:  # Ctrl-C: begin nothing more
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return sorted(parts, key=lambda part: part.name)


def check_exercise(exercise: Exercise) -> Part:
    """Try its stub, its solution and its wrong answers, all in one worker."""
    with Worker() as worker:
        problems = [*_form(exercise), *_stub_and_solution(exercise, worker), *_bugs(exercise, worker)]
    return Part(exercise.label, tuple(problems))


def _form(exercise: Exercise) -> list[str]:
    problems = []
    if len(exercise.hints) != len(LEVELS) or not all(hint.strip() for hint in exercise.hints):
        problems.append(f"there are {len(exercise.hints)} hints, or an empty one; expected {len(LEVELS)}")
    lines = len(exercise.sections["solution"].strip().splitlines())
    if lines > MOST_LINES:
        problems.append(f"the solution has {lines} lines; expected at most {MOST_LINES}")
    if len(exercise.bugs) < FEWEST_BUGS:
        problems.append(f"there are {len(exercise.bugs)} bugs; expected at least {FEWEST_BUGS}")
    return problems + [f"bug {name} has no docstring" for name, bug in exercise.bugs.items() if not bug.__doc__]


def _stub_and_solution(exercise: Exercise, worker: Worker) -> list[str]:
    problems = []
    stub = check(exercise, exercise.stub, worker)
    if stub.stage != "not started":
        problems.append(f"the stub is not told as not started, but: {stub.stage or 'passed'} {stub.message}")
    for seed in (0, 1):
        verdict = check(exercise, exercise.solution, worker, seed)
        if not verdict.passed:
            problems.append(f"the solution fails with seed {seed}: {verdict.message} {verdict.property_broken}")
    return problems


def _bugs(exercise: Exercise, worker: Worker) -> list[str]:
    """Every bug is caught, and what is said of it is said of no other."""
    problems: list[str] = []
    said: dict[str, str] = {}
    for name, bug in exercise.bugs.items():
        verdict = check(exercise, exercise.bugs_text, worker, function=name)
        text = _told(verdict)
        if verdict.passed:
            problems.append(f"bug {name} passes")
        elif text in said:
            problems.append(f"bug {name} is told as {said[text]} is: {text}")
        elif verdict.stage != "inputs" and verdict.meaning != bug.__doc__:
            problems.append(f"bug {name} is told as another: {verdict.meaning or verdict.message}")
        said[text] = name
    return problems


def _told(verdict: Verdict) -> str:
    return verdict.meaning or verdict.message


def all_lessons() -> list[Path]:
    """The lessons, in order, if there are any."""
    return sorted(shipped("lessons").glob("[0-9][0-9]_*/lesson.py"))


def check_lesson(lesson: Path) -> Part:
    """Run it as a program of its own."""
    name = f"lesson {lesson.parent.name}"
    above = str(PACKAGE.parent)
    path = os.pathsep.join(filter(None, [above, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, str(lesson)], stdin=subprocess.DEVNULL, capture_output=True, env=environment,
            timeout=LESSON_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Part(name, (f"it takes more than {LESSON_SECONDS} seconds",))
    if done.returncode == 0:
        return Part(name, ())
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return Part(name, (f"it fails: {lines[-1] if lines else f'exit code {done.returncode}'}",))
