"""Checker: run a learner's source in a worker, and report the first thing that is wrong.

The checks, in order: the source loads; the function exists; for every case it returns a value, whose type, dtype, shape
and values are correct; and it is correct for all other inputs, too, on which the properties of the exercise call it. A
call that fails anywhere is a failure of the check. Besides the fixed cases there are cases of a fresh seed, which
nobody can know before.

For wrong values the report adds three things: a property that the result violates, the inputs (cases are ordered by
size, so the first failing case is small), and the likely cause (`diagnosis.py`).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minillm.classroom.exercises.compare import compare, same
from minillm.classroom.exercises.diagnosis import broken_property, likely_cause
from minillm.classroom.exercises.exercise import Exercise, Inputs, size
from minillm.classroom.exercises.whole import whole_rows
from minillm.classroom.worker import wire
from minillm.classroom.worker.worker import Failed, Outcome, Returned, Worker

SEEDS = 1 << 32


@dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes:
        exercise: the label of the exercise.
        passed: whether all cases passed.
        stage: "" if it passed; "not started", "import", "name", "error", "time", "output", "ended", "forbidden",
            "unreadable", "none", "type", "dtype", "shape", "value", "inputs" or "property".
        message: what is wrong, in one sentence.
        rows: (index, yours, expected, "differs" or "") of a small slice.
        whole: the same for all items of a small structure, such as a schedule or a block table.
        property_broken: what must be true of every correct result, and is not true of this one.
        example: the inputs of the failing case, as text.
        meaning: the likely cause.
        line: the line of the learner's file that raised an exception.
        output: what the code printed.
        cases_passed, cases: the number of passed cases, and of all cases.
        seed: the seed of the failing case, if it is a random one. The same seed repeats it.
    """

    exercise: str
    passed: bool
    stage: str = ""
    message: str = ""
    rows: tuple[tuple[str, ...], ...] = ()
    whole: tuple[tuple[str, ...], ...] = ()
    property_broken: str = ""
    example: str = ""
    meaning: str = ""
    line: int | None = None
    output: str = ""
    cases_passed: int = 0
    cases: int = 0
    seed: int | None = None


def check(exercise: Exercise, source: str, worker: Worker, seed: int | None = None, function: str = "") -> Verdict:
    """Check a source.

    Args:
        exercise: the exercise.
        source: the text of the learner's file.
        worker: runs the source. It may have run other sources before.
        seed: the seed of the cases that are added to those of seed 0; by default a fresh one.
        function: the name of the function; by default that of the exercise.
    """
    loaded = worker.load(source, function or exercise.name, exercise.harness)
    if isinstance(loaded, Failed):
        return replace(failed_verdict(exercise, loaded, loading=True), output=worker.output)
    seed = secrets.randbelow(SEEDS) if seed is None else seed
    with np.errstate(all="ignore"):
        return replace(_check_cases(exercise, worker, seed), output=worker.output)


def check_apart(exercise: Exercise, source: str, worker: Worker, seed: int | None = None) -> Verdict:
    """Check one of several files, then end its process, so its changes to NumPy or Python do not reach the next one."""
    verdict = check(exercise, source, worker, seed)
    if source != exercise.stub:
        worker.close()
    return verdict


def all_cases(exercise: Exercise, seed: int) -> list[tuple[Inputs, int | None]]:
    """Return the cases of seed 0 and the different ones of this seed: the smallest first, each with its seed."""
    fixed = exercise.cases()
    known = {wire.pack(inputs) for inputs in fixed}
    fresh = [inputs for inputs in exercise.cases(seed) if wire.pack(inputs) not in known]
    pairs = [(inputs, None) for inputs in fixed] + [(inputs, seed) for inputs in fresh]
    return sorted(pairs, key=lambda pair: size(pair[0]))


def _check_cases(exercise: Exercise, worker: Worker, seed: int) -> Verdict:
    pairs = all_cases(exercise, seed)
    cases = [inputs for inputs, _ in pairs]
    for number, (inputs, of_seed) in enumerate(pairs):
        outcome = worker.call(inputs)
        verdict = judge(exercise, inputs, outcome)
        if verdict is not None:
            verdict = explained(exercise, worker, cases, number, outcome, verdict)
            return replace(verdict, cases_passed=number, cases=len(cases), seed=of_seed)
    for inputs, of_seed in pairs:
        for holds in exercise.properties:
            verdict = _judge_property(exercise, worker, inputs, holds)
            if verdict is not None:
                return replace(verdict, seed=of_seed)
    return Verdict(exercise.label, True, cases_passed=len(cases), cases=len(cases))


def explained(
    exercise: Exercise, worker: Worker, cases: list[Inputs], number: int, outcome: Outcome, verdict: Verdict
) -> Verdict:
    """Add to a verdict the property that the result violates, and the likely cause."""
    broken = ""
    if verdict.stage == "value" and isinstance(outcome, Returned):
        broken = broken_property(exercise, worker, cases[number], outcome.value)
    cause = "" if verdict.stage == "inputs" else likely_cause(exercise, worker, cases, number, outcome)
    return replace(verdict, property_broken=broken, meaning=cause)


class _WrongError(Exception):
    """Raised where a property calls the learner's function and the result is wrong."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict


def _judge_property(exercise: Exercise, worker: Worker, inputs: Inputs, holds: Callable[..., bool]) -> Verdict | None:
    """Return the verdict on the function for the inputs on which a property calls it, or None if it is correct there.

    The property itself gets only expected results. So nothing of the learner's reaches it.
    """

    def run(**changed: Any) -> Any:
        own = {**inputs, **changed}
        verdict = judge(exercise, own, worker.call(own))
        if verdict is not None:
            raise _WrongError(verdict)
        return exercise.expected(own)

    try:
        if holds(inputs, exercise.expected(inputs), run):
            return None
    except _WrongError as wrong:
        verdict = wrong.verdict
    else:  # the solution itself violates it: a mistake of the exercise, which the course check finds
        verdict = _verdict(exercise, "value", "the expected result violates it", example=example(inputs))
    text = f"all cases are correct, but not this input of a property: {verdict.message}"
    if verdict.stage != "value":
        return replace(verdict, message=text)
    return replace(verdict, message=text, stage="property", property_broken=str(holds.__doc__))


def judge(exercise: Exercise, inputs: Inputs, outcome: Outcome) -> Verdict | None:
    """Return the verdict on one result, or None if it is correct."""
    if isinstance(outcome, Failed):
        return replace(failed_verdict(exercise, outcome, loading=False), example=example(inputs))
    difference = compare(outcome.value, exercise.expected(inputs))
    if difference is not None:
        about = {"rows": difference.rows, "meaning": difference.meaning, "example": example(inputs)}
        about["whole"] = whole_rows(outcome.value, exercise.expected(inputs))
        return _verdict(exercise, difference.stage, difference.message, **about)
    if not exercise.in_place and not same(outcome.inputs, inputs):
        changed = [name for name in inputs if not same(outcome.inputs.get(name), inputs[name])]
        text = f"the result is correct, but {', '.join(changed)} was changed; do not change the inputs, make a copy"
        return _verdict(exercise, "inputs", text, example=example(inputs))
    return None


def _verdict(exercise: Exercise, stage: str, message: str, **more: Any) -> Verdict:
    return Verdict(exercise.label, False, stage, message, **more)


def failed_verdict(exercise: Exercise, failed: Failed, loading: bool) -> Verdict:
    """Return the verdict on a source or a call that gave no result."""
    if failed.kind != "raised":
        stage = "name" if failed.kind == "missing" else failed.kind
        return _verdict(exercise, stage, failed.message)
    if failed.error == "NotImplementedError" and not loading:
        return _verdict(exercise, "not started", failed.message or "not started yet", line=failed.line)
    text = f"{failed.error}: {failed.message}" if failed.message else failed.error
    meaning = ""
    if failed.error == "ModuleNotFoundError":
        meaning = (
            "Only NumPy and harmless modules of the standard library can be imported. Other files of yours cannot, "
            "because each file runs alone, and minillm cannot, because it has the solutions."
        )
    return _verdict(exercise, "import" if loading else "error", text, line=failed.line, meaning=meaning)


def example(inputs: Inputs) -> str:
    """Return the inputs as Python assignments."""
    return ", ".join(f"{name} = {_shown(value)}" for name, value in inputs.items())


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=4, threshold=24, edgeitems=2, separator=", ")
        return " ".join(text.split())
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
