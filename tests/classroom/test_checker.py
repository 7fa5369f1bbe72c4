"""The feedback to a learner: the first thing that is wrong, the smallest failing input, and the likely cause."""

import numpy as np
import pytest

from minillm.classroom.exercises.checker import check
from minillm.classroom.exercises.compare import compare
from minillm.classroom.exercises.exercise import find_exercise
from minillm.classroom.worker.worker import Worker


@pytest.fixture(scope="module")
def worker():
    with Worker() as worker:
        yield worker


@pytest.fixture
def told(worker):
    """The verdict on an exercise whose function has this body."""

    def check_body(body, which="softmax"):
        exercise = find_exercise(which)
        head = exercise.sections["learner"]
        return check(exercise, f"{head}\n    {body}\n", worker)

    return check_body


def test_stages_in_their_order(told, worker):
    softmax = find_exercise("softmax")
    assert check(softmax, "import torch", worker).stage == "import"
    assert check(softmax, "def sotfmax(x): return x", worker).stage == "name"
    assert check(softmax, softmax.stub, worker).stage == "not started"
    for body, stage, message in [
        ("1 / 0", "error", "ZeroDivisionError: division by zero"),
        ("scores.max()", "none", "result is None; expected an array of shape [2]; is a `return` missing?"),
        ("return [1.0]", "type", "result is of type list; expected an array of shape [2]"),
        ("return scores.astype('float32')", "dtype", "result has the dtype float32; expected float64"),
        ("return scores[:, None]", "shape", "result has the shape [2, 1]; expected [2]"),
        ("return scores", "value", "result first differs at [0]: got 0, expected 0.268941 (2 of 2 values differ)"),
    ]:
        verdict = told(body)
        assert (verdict.passed, verdict.stage) == (False, stage)
        assert verdict.message.startswith(message)


def test_the_first_case_that_fails_is_small_and_shown(told):
    verdict = told("return np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)")
    assert (verdict.cases_passed, verdict.example) == (1, "scores = [ 1000., 1001., -1000.]")
    assert verdict.rows[0] == ("[0]", "nan", "0.268941")
    softmax = find_exercise("softmax")
    assert verdict.property_broken in [holds.__doc__ for holds in softmax.properties]
    assert "1." in verdict.property_broken  # each row sums to 1
    assert verdict.meaning in [bug.__doc__ for bug in softmax.bugs.values()]
    assert "overflow" in verdict.meaning


def test_an_unknown_mistake_is_described_by_its_form(told):
    assert told("return 3 * np.exp(scores - scores.max(-1, keepdims=True)) / "
                "np.exp(scores - scores.max(-1, keepdims=True)).sum(-1, keepdims=True)").meaning.startswith(
        "All values are 3 times"
    )  # fmt: skip


def test_the_line_of_an_exception_is_the_files(told):
    verdict = told("return undefined")
    assert "undefined" in verdict.message
    line = find_exercise("softmax").sections["learner"].count("\n") + 2
    assert verdict.line == line


def test_changed_inputs_are_told(told):
    verdict = told(
        "scores -= scores.max(-1, keepdims=True)\n    e = np.exp(scores); return e / e.sum(-1, keepdims=True)"
    )
    assert verdict.stage == "inputs"
    assert "scores was changed" in verdict.message


FORGED = """
import sys
sys.modules["__main__"].Exercise.run = lambda self, inputs: {"result": softmax(**inputs), "inputs": 5}
"""


def test_inputs_that_came_back_as_something_else_are_a_failed_check(worker):
    softmax = find_exercise("softmax")
    right = "\n    e = np.exp(scores - scores.max(-1, keepdims=True)); return e / e.sum(-1, keepdims=True)\n"
    verdict = check(softmax, softmax.sections["learner"] + right + FORGED, worker)
    assert (verdict.passed, verdict.stage) == (False, "unreadable")


def test_a_property_finds_what_the_cases_do_not(told):
    """Right on every case, by heart."""
    verdict = told(
        "import json; right = np.exp(scores - scores.max(-1, keepdims=True)); right /= right.sum(-1, keepdims=True)\n"
        "    return right if scores.flat[0] != 5.0 else scores"
    )
    assert verdict.stage == "property"
    assert verdict.property_broken in [holds.__doc__ for holds in find_exercise("softmax").properties]
    assert "added to all scores" in verdict.property_broken


def test_a_function_that_answers_once_and_never_again_fails_in_time(told):
    verdict = told("softmax.calls = getattr(softmax, 'calls', 0) + 1\n    if softmax.calls > 1: raise SystemExit\n"
                   "    e = np.exp(scores - scores.max()); return e / e.sum()")  # fmt: skip
    assert (verdict.stage, verdict.cases_passed) == ("error", 1)


@pytest.mark.parametrize(
    ("result", "expected", "text"),
    [
        (np.zeros((2, 7, 4, 16)), np.zeros((2, 4, 7, 16)), "the axes 1 and 2 seem to be swapped"),
        (np.zeros((4, 2, 3)), np.zeros((2, 3, 4)), "the axes are in a different order"),
        (np.zeros((4, 1)), np.zeros(4), "an axis of length 1"),
        ((np.zeros(2), np.ones(2)), (np.zeros(2), np.zeros(2)), "result[1] first differs at [0]: got 1, expected 0"),
        ([1, 2], [1, 2, 3], "result has the length 2; expected the length 3"),
        ([[1], [3]], [[1], [2]], "result[1][0] is 3; expected 2"),
        (1.0, 1, "result is of type float; expected of type int"),
        (True, 1, "result is of type bool"),
        ("ab", "a", "result is 'ab'; expected 'a'"),
        (0.1 + 2e-8, 0.1, "result is 0.1"),
        (10**400, 0.5, "result is 1000"),
        ([1.0, -(10**400)], [1.0, 2.0], "result[1] is -1000"),
    ],
)
def test_differences_in_words(result, expected, text):
    assert text in compare(result, expected).message


def test_what_the_form_of_a_difference_means():
    right = np.arange(6.0).reshape(2, 3) ** 2
    for wrong, meaning in [
        (np.where(right > 3, np.nan, right), "NaN"),
        (right[::-1], "in reverse order along axis 0"),
        (np.roll(right, 1, axis=1), "shifted by one along axis 1"),
        (right * 0.5, "0.5 times"),
    ]:
        assert meaning in compare(wrong, right).meaning
    square = np.arange(9.0).reshape(3, 3) ** 2
    assert "transposed" in compare(square.T, square).meaning


def test_rounding_is_no_difference_and_more_is():
    assert compare(np.array([1 + 1e-12]), np.array([1.0])) is None
    assert compare(np.array([1 + 1e-7]), np.array([1.0])) is not None
    assert compare(np.array([np.nan]), np.array([1.0])) is not None
    assert compare(np.array([1], np.int32), np.array([1])) is None
