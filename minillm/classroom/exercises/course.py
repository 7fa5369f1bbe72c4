"""The course check: test every exercise and every lesson.

The checks of an exercise are tested with wrong answers: every stub is reported as not started, every solution passes,
every bug fails with its own message, and every exercise has its hints. Where the engine has the same function, the
solution agrees with it. Every lesson must run.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from minillm.classroom.exercises.checker import check
from minillm.classroom.exercises.compare import compare
from minillm.classroom.exercises.exercise import LEVELS, Exercise, all_exercises, copied
from minillm.classroom.worker.worker import Worker
from minillm.support.shipped import PACKAGE, shipped
from minillm.support.wording import counted

FEWEST_BUGS = 5
MOST_LINES = 20  # lines of a solution
LESSON_SECONDS = 60


@dataclass(frozen=True)
class Part:
    """One exercise or lesson, with its problems; the tuple is empty if there are none."""

    name: str
    problems: tuple[str, ...]


def check_course(report: Callable[[Part], object]) -> list[Part]:
    """Check all exercises and lessons in parallel. `report` is called with each part when it is finished."""
    parts = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        tasks = [pool.submit(check_lesson, lesson) for lesson in all_lessons()]  # they take the longest time
        tasks += [pool.submit(check_exercise, exercise) for exercise in all_exercises()]
        try:
            for task in as_completed(tasks):
                parts.append(task.result())
                report(parts[-1])
        except BaseException:  # Ctrl-C: start no further task
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return sorted(parts, key=lambda part: part.name)


def check_exercise(exercise: Exercise) -> Part:
    """Check the stub, the solution and the bugs of an exercise, all in one worker."""
    with Worker() as worker:
        problems = [*_form(exercise), *_stub_and_solution(exercise, worker), *_bugs(exercise, worker)]
    return Part(exercise.label, (*problems, *_engine(exercise)))


def _form(exercise: Exercise) -> list[str]:
    problems = []
    if len(exercise.hints) != len(LEVELS) or not all(hint.strip() for hint in exercise.hints):
        problems.append(
            f"{counted(len(exercise.hints), 'hint')}, or an empty one; expected {len(LEVELS)} hints with text"
        )
    lines = len(exercise.sections["solution"].strip().splitlines())
    if lines > MOST_LINES:
        problems.append(f"the solution has {counted(lines, 'line')}; expected at most {MOST_LINES}")
    if len(exercise.bugs) < FEWEST_BUGS:
        problems.append(f"the exercise has {counted(len(exercise.bugs), 'bug')}; expected at least {FEWEST_BUGS}")
    return problems + [f"bug {name} has no docstring" for name, bug in exercise.bugs.items() if not bug.__doc__]


def _stub_and_solution(exercise: Exercise, worker: Worker) -> list[str]:
    problems = []
    stub = check(exercise, exercise.stub, worker, 0)
    if stub.stage != "not started":
        problems.append(f"the stub is not reported as not started, but as: {stub.stage or 'passed'} {stub.message}")
    for seed in (0, 1):
        verdict = check(exercise, exercise.solution, worker, seed)
        if not verdict.passed:
            problems.append(f"the solution fails with seed {seed}: {verdict.message} {verdict.property_broken}")
    return problems


def _engine(exercise: Exercise) -> list[str]:
    """Compare the solution with minillm's own function, if there is one, in every case."""
    if exercise.engine is None:
        return []
    pairs = ((exercise.engine(**copied(inputs)), exercise.expected(inputs)) for inputs in exercise.cases())
    differences = (compare(own, expected, "the engine's result") for own, expected in pairs)
    return [difference.message for difference in differences if difference is not None][:1]


def _bugs(exercise: Exercise, worker: Worker) -> list[str]:
    """Check that every bug fails, each with a different message."""
    problems: list[str] = []
    reported: dict[str, str] = {}
    for name, bug in exercise.bugs.items():
        verdict = check(exercise, exercise.bugs_text, worker, 0, function=name)
        text = verdict.meaning or verdict.message
        if verdict.passed:
            problems.append(f"bug {name} passes")
        elif text in reported:
            problems.append(f"bug {name} gets the same message as bug {reported[text]}: {text}")
        elif verdict.stage != "inputs" and verdict.meaning != bug.__doc__:
            problems.append(f"bug {name} gets a message that is not its docstring: {text}")
        reported[text] = name
    return problems


def all_lessons() -> list[Path]:
    """Return the paths of the lessons, in order."""
    return sorted(shipped("lessons").glob("[0-9][0-9]_*/lesson.py"))


def check_lesson(lesson: Path) -> Part:
    """Run a lesson as a separate program."""
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
        return Part(name, (f"the lesson took more than {LESSON_SECONDS} seconds",))
    if done.returncode == 0:
        return Part(name, ())
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return Part(name, (f"the lesson failed: {lines[-1] if lines else f'exit code {done.returncode}'}",))
