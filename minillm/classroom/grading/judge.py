"""Judge: run one exercise's source in a worker, and return a row for each of its planned checks.

An exercise has the check `cases`, and one check for each property. `cases` is passed if every result equals the
expected one, for the fixed cases and for hidden ones of a seed, also when a case is called again. It is worth half of
the points, and the properties together the other half. So a function that is nearly right gets a part of the points.

Two rules keep a wrong function from getting points by chance. All inputs of a check must be answered: a call that
raises an exception fails it. And a property counts only if at least half of the hidden cases are correct, because a
constant such as "all weights equal" has many properties.

The functions here run in the grading process. What comes back from the worker is data of exact base types.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from minillm.classroom.exercises.checker import Verdict, all_cases, example, explained, failed_verdict, judge
from minillm.classroom.exercises.diagnosis import fits, limited
from minillm.classroom.exercises.exercise import Exercise, Inputs
from minillm.classroom.grading.result import CRASHED, FAILED, NOT_HANDED_IN, PASSED, REFUSED, TIMED_OUT, Row
from minillm.classroom.grading.staging import Staged
from minillm.classroom.worker.worker import Failed, Outcome, Returned, Worker
from minillm.support.wording import counted

CASES = "every result is the expected one, for the fixed and for the hidden cases"
PROPERTY_S = 2.0  # seconds of processor time to judge a property for one case
LONGEST_TEXT = 2000  # characters of one field
OUTCOME_OF_STAGE = {
    "not started": NOT_HANDED_IN, "import": CRASHED, "error": CRASHED, "ended": CRASHED, "output": CRASHED,
    "unreadable": CRASHED, "time": TIMED_OUT, "forbidden": REFUSED,
}  # fmt: skip
ENDINGS = ("time", "ended", "forbidden", "output", "unreadable")  # stages after which the process has ended
ENDED_BEFORE = Verdict("", False, "ended", "the process ended during an earlier check")
TOO_FEW = "a property counts only if at least half of the hidden cases are correct"


def planned_rows(exercise: Exercise, points: float) -> list[Row]:
    """Return the rows of an exercise before it is graded: nothing is handed in.

    >>> from minillm.classroom.exercises.exercise import find_exercise
    >>> [(row.check, row.out_of) for row in planned_rows(find_exercise("softmax"), 2.0)]
    [('cases', 1.0), ('property 1', 0.5), ('property 2', 0.5)]
    """
    titles = [CASES, *(str(holds.__doc__) for holds in exercise.properties)]
    names = ["cases", *(f"property {number}" for number in range(1, len(titles)))]
    return [
        Row(exercise.label, name, title, NOT_HANDED_IN, 0.0, worth, "there is no file with this function")
        for name, title, worth in zip(names, titles, _shares(points, len(titles) - 1), strict=True)
    ]


def _shares(points: float, properties: int) -> list[float]:
    """Divide points into hundredths: half for the cases, the other half evenly; the first ones get what is left."""
    hundredths = round(100 * points)
    if not properties:
        return [hundredths / 100]
    half = hundredths // 2
    each, left = divmod(half, properties)
    return [(hundredths - half) / 100, *((each + (number < left)) / 100 for number in range(properties))]


def grade_exercise(exercise: Exercise, staged: Staged | None, points: float, seed: int, worker: Worker) -> list[Row]:
    """Return the rows of one exercise. Afterwards the process of the worker has ended."""
    planned = planned_rows(exercise, points)
    if staged is None:
        return planned
    if staged.refused:
        return [replace(row, outcome=REFUSED, message=f"{staged.name}: {staged.refused}") for row in planned]
    if staged.source == exercise.stub:
        return [replace(row, message="the stub is unchanged") for row in planned]
    try:
        with np.errstate(all="ignore"):
            verdicts = list(_verdicts(exercise, staged.source, seed, worker))
    except Exception as problem:  # a result that cannot be judged is not a correct one
        text = f"the results cannot be judged: {type(problem).__name__}"
        verdicts = [Verdict(exercise.label, False, "unreadable", text)] * len(planned)
    finally:
        worker.close()
    return [_row(row, verdict, worker.output) for row, verdict in zip(planned, verdicts, strict=True)]


def _verdicts(exercise: Exercise, source: str, seed: int, worker: Worker) -> Iterator[Verdict]:
    """Yield one verdict for each planned row."""
    loaded = worker.load(source, exercise.name, exercise.harness)
    if isinstance(loaded, Failed):
        yield from [failed_verdict(exercise, loaded, loading=True)] * (1 + len(exercise.properties))
        return
    pairs = all_cases(exercise, seed)
    cases = [inputs for inputs, _ in pairs]
    outcomes = [worker.call(inputs) for inputs in cases]
    found = [judge(exercise, inputs, outcome) for inputs, outcome in zip(cases, outcomes, strict=True)]
    verdict = _of_cases(exercise, worker, cases, outcomes, found)
    yield replace(verdict, cases_passed=sum(one is None for one in found), cases=len(cases))
    hidden = [one for one, (_, of_seed) in zip(found, pairs, strict=True) if of_seed is not None] or found
    enough = 2 * sum(one is None for one in hidden) >= len(hidden)
    ending = next((one for one in found if one is not None and one.stage in ENDINGS), ENDED_BEFORE)
    for holds in exercise.properties:
        if not enough and not worker.ended:
            yield Verdict(exercise.label, False, "property", TOO_FEW)
            continue
        verdict = ending if worker.ended else _of_property(exercise, worker, cases, holds)
        ending = verdict if worker.ended else ending
        yield verdict


def _of_cases(
    exercise: Exercise, worker: Worker, cases: list[Inputs], outcomes: list[Outcome], found: list[Verdict | None]
) -> Verdict:
    """Return the verdict on all cases: the first that is wrong, explained."""
    for number, verdict in enumerate(found):
        if verdict is not None:
            return explained(exercise, worker, cases, number, outcomes[number], verdict)
    return next(_of_second_calls(exercise, worker, cases), Verdict(exercise.label, True))


def _of_second_calls(exercise: Exercise, worker: Worker, cases: list[Inputs]) -> Iterator[Verdict]:
    """Yield a verdict for each case that was right and is wrong when it is called again: the function keeps a state."""
    for inputs in reversed(cases):
        verdict = judge(exercise, inputs, worker.call(inputs))
        if verdict is not None:
            text = f"right in the first call, and wrong in a later call with the same inputs: {verdict.message}"
            yield replace(verdict, message=text)


class _WrongError(Exception):
    """Raised where a property calls the learner's function and it gives no usable result."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict


def _of_property(exercise: Exercise, worker: Worker, cases: list[Inputs], holds: Callable[..., bool]) -> Verdict:
    """Return the verdict on one property: it must hold for the learner's results in every case."""
    for inputs in cases:
        try:
            with limited(PROPERTY_S):
                if holds(inputs, _result(exercise, worker, inputs), _run(exercise, worker, inputs)):
                    continue
        except _WrongError as wrong:
            return replace(wrong.verdict, meaning="")
        except Exception as problem:  # of a property that was given a wrong result
            text = f"the property cannot be computed for this result: {type(problem).__name__}"
            return Verdict(exercise.label, False, "property", text, example=example(inputs))
        return Verdict(exercise.label, False, "property", "it does not hold", example=example(inputs))
    return Verdict(exercise.label, True)


def _run(exercise: Exercise, worker: Worker, inputs: Inputs) -> Callable[..., Any]:
    return lambda **changed: _result(exercise, worker, {**inputs, **changed})


def _result(exercise: Exercise, worker: Worker, inputs: Inputs) -> Any:
    """Return the learner's result; the expected one if they are equal up to rounding."""
    outcome = worker.call(inputs)
    verdict = judge(exercise, inputs, outcome)
    if verdict is None:
        return exercise.expected(inputs)
    if verdict.stage == "value" and isinstance(outcome, Returned) and fits(outcome.value, exercise.expected(inputs)):
        return outcome.value
    raise _WrongError(verdict)


def _row(planned: Row, verdict: Verdict, printed: str) -> Row:
    outcome = PASSED if verdict.passed else OUTCOME_OF_STAGE.get(verdict.stage, FAILED)
    message = verdict.message
    if verdict.cases and not verdict.passed:
        right = f"correct in {verdict.cases_passed} of {counted(verdict.cases, 'case')}"
        message = f"{right}; the first wrong one: {message}"
    return replace(
        planned,
        outcome=outcome,
        points=planned.out_of if verdict.passed else 0.0,
        message="" if verdict.passed else _clean(message),
        known_mistake=_clean(verdict.meaning),
        line=verdict.line,
        table=tuple(tuple(map(_clean, line)) for line in verdict.rows),
        example=_clean(verdict.example),
        printed="" if verdict.passed else _clean(printed),
    )


def _clean(text: str) -> str:
    """Return the beginning of a text, in characters that every file can hold."""
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")
