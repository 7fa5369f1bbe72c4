"""Checker: run a learner's source in a worker, and report the first thing that is wrong.

The checks, in order: the source loads; the function exists; it returns a value; the dtype, the shape and the values are
correct. For wrong values the report adds three things: a property that the result violates, the inputs (cases are
ordered by size, so the first failing case is small), and the likely cause. The cause is known if one of the exercise's
wrong answers (`bugs.py`) gives the same result for the same inputs.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minillm.classroom.exercises.compare import Difference, compare, same
from minillm.classroom.exercises.exercise import Exercise, Inputs
from minillm.classroom.worker.worker import Failed, Outcome, Returned, Worker

Run = Callable[..., Any]


@dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes:
        exercise: the label of the exercise.
        passed: whether all cases passed.
        stage: "" if it passed; "not started", "import", "name", "error", "time", "output", "ended", "forbidden",
            "unreadable", "none", "type", "dtype", "shape", "value", "inputs" or "property".
        message: what is wrong, in one sentence.
        rows: (index, yours, expected) of a small slice.
        property_broken: what must be true of every correct result, and is not true of this one.
        example: the inputs of the failing case, as text.
        meaning: the likely cause.
        line: the line of the learner's file that raised an exception.
        output: what the code printed.
        cases_passed, cases: the number of passed cases, and of all cases.
    """

    exercise: str
    passed: bool
    stage: str = ""
    message: str = ""
    rows: tuple[tuple[str, str, str], ...] = ()
    property_broken: str = ""
    example: str = ""
    meaning: str = ""
    line: int | None = None
    output: str = ""
    cases_passed: int = 0
    cases: int = 0


def check(exercise: Exercise, source: str, worker: Worker, seed: int = 0, function: str = "") -> Verdict:
    """Check a source.

    Args:
        exercise: the exercise.
        source: the text of the learner's file.
        worker: runs the source. It may have run other sources before.
        seed: the seed of the inputs.
        function: the name of the function; by default that of the exercise.
    """
    loaded = worker.load(source, function or exercise.name, exercise.harness)
    if isinstance(loaded, Failed):
        return replace(_failed(exercise, loaded, loading=True), output=worker.output)
    with np.errstate(all="ignore"):
        return replace(_check_cases(exercise, worker, exercise.cases(seed)), output=worker.output)


def check_apart(exercise: Exercise, source: str, worker: Worker) -> Verdict:
    """Check one of several files, then end its process, so its changes to NumPy or Python do not reach the next one."""
    verdict = check(exercise, source, worker)
    if source != exercise.stub:
        worker.close()
    return verdict


def _check_cases(exercise: Exercise, worker: Worker, cases: list[Inputs]) -> Verdict:
    results = []
    for number, inputs in enumerate(cases):
        outcome = worker.call(inputs)
        verdict = _judge(exercise, worker, inputs, outcome)
        if verdict is not None:
            known = "" if verdict.stage == "inputs" else _known_meaning(exercise, worker, cases, number, outcome)
            meaning = known or verdict.meaning
            return replace(verdict, meaning=meaning, cases_passed=number, cases=len(cases))
        results.append(outcome.value if isinstance(outcome, Returned) else None)
    for inputs, result in zip(cases, results, strict=True):
        broken = _broken_property(exercise, worker, inputs, result)
        if broken:
            text = "all results are correct, but a property is violated"
            return _verdict(exercise, "property", text, property_broken=broken, example=example(inputs))
    return Verdict(exercise.label, True, cases_passed=len(cases), cases=len(cases))


def _judge(exercise: Exercise, worker: Worker, inputs: Inputs, outcome: Outcome) -> Verdict | None:
    """Return the verdict on one result, or None if it is correct."""
    if isinstance(outcome, Failed):
        return replace(_failed(exercise, outcome, loading=False), example=example(inputs))
    difference = compare(outcome.value, exercise.expected(inputs))
    if difference is not None:
        broken = _broken_property(exercise, worker, inputs, outcome.value) if difference.stage == "value" else ""
        return _differs(exercise, difference, broken, inputs)
    if not exercise.in_place and not same(outcome.inputs, inputs):
        changed = [name for name in inputs if not same(outcome.inputs.get(name), inputs[name])]
        text = f"the result is correct, but {', '.join(changed)} was changed; do not change the inputs, make a copy"
        return _verdict(exercise, "inputs", text, example=example(inputs))
    return None


def _differs(exercise: Exercise, difference: Difference, broken: str, inputs: Inputs) -> Verdict:
    return _verdict(
        exercise,
        difference.stage,
        difference.message,
        rows=difference.rows,
        property_broken=broken,
        example=example(inputs),
        meaning=difference.meaning,
    )


def _verdict(exercise: Exercise, stage: str, message: str, **more: Any) -> Verdict:
    return Verdict(exercise.label, False, stage, message, **more)


def _failed(exercise: Exercise, failed: Failed, loading: bool) -> Verdict:
    """Return the verdict on a source or a call that gave no result."""
    if failed.kind != "raised":
        stage = "name" if failed.kind == "missing" else failed.kind
        return _verdict(exercise, stage, failed.message)
    if failed.error == "NotImplementedError" and not loading:
        return _verdict(exercise, "not started", failed.message or "not started yet", line=failed.line)
    text = f"{failed.error}: {failed.message}" if failed.message else failed.error
    meaning = ""
    if failed.error == "ModuleNotFoundError":
        meaning = "Only NumPy and the standard library can be imported. minillm cannot, because it has the solutions."
    return _verdict(exercise, "import" if loading else "error", text, line=failed.line, meaning=meaning)


class _NoResultError(Exception):
    """Raised when the learner's function gives no result for the inputs of a property."""


def _broken_property(exercise: Exercise, worker: Worker, inputs: Inputs, result: Any) -> str:
    """Return the first property that this result violates, or an empty string."""

    def run(**changed: Any) -> Any:
        outcome = worker.call({**inputs, **changed})
        if isinstance(outcome, Failed):
            raise _NoResultError(outcome.message)
        return outcome.value

    for holds in exercise.properties:
        try:
            true = holds(inputs, result, run)
        except Exception:  # the property cannot be computed for this result
            continue
        if not true:
            return str(holds.__doc__)
    return ""


def _known_meaning(exercise: Exercise, worker: Worker, cases: list[Inputs], failing: int, outcome: Outcome) -> str:
    """Return the docstring of the known bug that behaves like the learner's function, or an empty string.

    Such a bug passes the same cases before the failing one and gives the same result in it. If several bugs do, the
    later cases decide between them.
    """
    known = [bug for bug in exercise.bugs.values() if _same_outcome(_try(exercise, bug, cases[failing]), outcome)]
    known = [bug for bug in known if all(_is_right(exercise, bug, inputs) for inputs in cases[:failing])]
    for inputs in cases[failing + 1 :]:
        if len(known) < 2:
            break
        later = worker.call(inputs)
        known = [bug for bug in known if _same_outcome(_try(exercise, bug, inputs), later)] or known[:1]
    return str(known[0].__doc__) if known else ""


def _is_right(exercise: Exercise, bug: Callable[..., Any], inputs: Inputs) -> bool:
    tried = _try(exercise, bug, inputs)
    return isinstance(tried, Returned) and same(tried.value, exercise.expected(inputs))


def _try(exercise: Exercise, bug: Callable[..., Any], inputs: Inputs) -> Outcome:
    """Return the outcome of a known bug. It runs in this process, because it is our own code."""
    try:
        return Returned(exercise.run(bug, inputs))
    except Exception as problem:
        return Failed("raised", str(problem), type(problem).__name__)


def _same_outcome(known: Outcome, outcome: Outcome) -> bool:
    if isinstance(known, Failed) or isinstance(outcome, Failed):
        both = isinstance(known, Failed) and isinstance(outcome, Failed)
        return both and known.error == outcome.error  # type: ignore[union-attr]
    return same(outcome.value, known.value)


def example(inputs: Inputs) -> str:
    """Return the inputs as Python assignments."""
    return ", ".join(f"{name} = {_shown(value)}" for name, value in inputs.items())


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=4, threshold=24, edgeitems=2, separator=", ")
        return " ".join(text.split())
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
