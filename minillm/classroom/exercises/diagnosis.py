"""Diagnosis: why a wrong result is wrong. Nothing here decides whether it is wrong: the checker has done that.

A result of a learner is wrong here in an unknown way. So a property sees it only if it has the structure of the
expected result, and for a limited time. A property that raises an exception has nothing to say.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import thread_time
from types import FrameType
from typing import Any

import numpy as np

from minillm.classroom.exercises.compare import Difference, compare, same
from minillm.classroom.exercises.exercise import Exercise, Inputs
from minillm.classroom.exercises.forms import Form, forms_of
from minillm.classroom.worker.worker import Failed, Outcome, Returned, Worker

PROPERTY_S = 0.2  # of processor time, for one property
MORE_ITEMS = 100  # that a wrong list may have, besides twice as many as the expected one


def broken_property(exercise: Exercise, worker: Worker, inputs: Inputs, result: Any) -> str:
    """Return the first property that this wrong result violates, or an empty string."""

    def run(**changed: Any) -> Any:
        own = {**inputs, **changed}
        outcome = worker.call(own)
        if isinstance(outcome, Failed) or not fits(outcome.value, exercise.expected(own)):
            raise ValueError("no result that the property can be computed for")
        return outcome.value

    if not fits(result, exercise.expected(inputs)):
        return ""
    for holds in exercise.properties:
        with suppress(Exception), limited(PROPERTY_S):
            if not holds(inputs, result, run):
                return str(holds.__doc__)
    return ""


def fits(result: Any, expected: Any) -> bool:
    """Return whether a result has the structure of the expected one: types, dtypes, shapes, about as many items."""
    if isinstance(expected, list | tuple):
        if not isinstance(result, list | tuple) or len(result) > 2 * len(expected) + MORE_ITEMS:
            return False
        last = len(expected) - 1  # a longer list goes on like the last item; of an empty list nothing is known
        return not expected or all(fits(item, expected[min(n, last)]) for n, item in enumerate(result))
    if isinstance(expected, dict):
        same_keys = isinstance(result, dict) and list(result) == list(expected)
        return same_keys and all(fits(result[key], expected[key]) for key in expected)
    difference = compare(result, expected)
    return difference is None or difference.stage == "value"


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in code of an exercise that runs longer. It works in every thread, and waiting is free."""
    until = thread_time() + seconds

    def watch(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith("exercise.py"):
            return None
        if thread_time() > until:
            raise TimeoutError(f"more than {seconds:g} seconds")
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)


def likely_cause(exercise: Exercise, worker: Worker, cases: list[Inputs], failing: int, outcome: Outcome) -> str:
    """Return the docstring of the known bug that behaves like the learner's function, else the form of its mistake.

    A known bug behaves so if it passes the same cases before the failing one, and agrees with the function in that
    case and in all later ones. A form is named if it explains the failing case and all later ones that fail. If nothing
    is recognised, the cause is an empty string.
    """
    known = [bug for bug in exercise.bugs.values() if _agree(_tried(exercise, bug, cases[failing]), outcome)]
    known = [bug for bug in known if all(_is_right(exercise, bug, inputs) for inputs in cases[:failing])]
    difference = _difference(exercise, cases[failing], outcome)
    forms = forms_of(*difference.arrays) if difference and difference.arrays else []
    for inputs in cases[failing + 1 :]:
        if not known and not forms:
            return ""
        later = worker.call(inputs)
        known = [bug for bug in known if _agree(_tried(exercise, bug, inputs), later)]
        forms = [form for form in forms if _explains(form, exercise, inputs, later)]
    return next(iter([*(str(bug.__doc__) for bug in known), *(form.text for form in forms)]), "")


def _explains(form: Form, exercise: Exercise, inputs: Inputs, outcome: Outcome) -> bool:
    """Return whether the outcome is correct, or wrong in this form."""
    if isinstance(outcome, Failed):
        return False
    difference = _difference(exercise, inputs, outcome)
    return difference is None or (difference.arrays is not None and form.explains(*difference.arrays))


def _difference(exercise: Exercise, inputs: Inputs, outcome: Outcome) -> Difference | None:
    return None if isinstance(outcome, Failed) else compare(outcome.value, exercise.expected(inputs))


def _is_right(exercise: Exercise, bug: Callable[..., Any], inputs: Inputs) -> bool:
    tried = _tried(exercise, bug, inputs)
    return isinstance(tried, Returned) and same(tried.value, exercise.expected(inputs))


def _tried(exercise: Exercise, bug: Callable[..., Any], inputs: Inputs) -> Outcome:
    """Return the outcome of a known bug. It runs in this process, because it is our own code."""
    try:
        return Returned(exercise.run(bug, inputs))
    except Exception as problem:
        return Failed("raised", str(problem), type(problem).__name__)


def _agree(known: Outcome, outcome: Outcome) -> bool:
    if isinstance(known, Failed) or isinstance(outcome, Failed):
        both = isinstance(known, Failed) and isinstance(outcome, Failed)
        return both and known.error == outcome.error  # type: ignore[union-attr]
    with np.errstate(all="ignore"):
        return same(outcome.value, known.value)
