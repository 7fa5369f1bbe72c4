"""The feedback to a learner: the first thing that is wrong, the smallest failing input, and the likely cause."""

import random
import time

import numpy as np
import pytest
from strange_results import STRANGE, strange_source

from minillm.classroom.exercises.checker import all_cases, check
from minillm.classroom.exercises.compare import compare
from minillm.classroom.exercises.exercise import all_exercises, find_exercise
from minillm.classroom.exercises.report import verdict_text
from minillm.classroom.worker.worker import Limits, Worker


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
        return check(exercise, f"{head}\n    {body}\n", worker, 0)

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
    assert verdict.rows[0] == ("[0]", "nan", "0.268941", "differs")
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


def test_bits_that_round_away_are_not_shown_as_a_difference():
    """Equal numbers look equal, others do not, and the rows that differ are marked."""
    right = np.array([[0.0, 1 / 3, 2 / 3, 1.0]])
    found = compare(np.array([[0.5, 1 / 3 + 1e-15, 2 / 3 + 1e-8, 1.0]]), right)
    assert found.rows == (
        ("[0, 0]", "0.5", "0", "differs"),
        ("[0, 1]", "0.333333", "0.333333", ""),
        ("[0, 2]", "0.66666668", "0.66666667", "differs"),
        ("[0, 3]", "1", "1", ""),
    )
    assert compare([1, 2, 4], [1, 3, 4]).rows == (("[1]", "2", "3", "differs"), ("[2]", "4", "4", ""))
    assert compare([1], [1, 2]).rows == (("[1]", "(missing)", "2", "differs"),)


def test_a_known_mistake_is_named_only_if_it_agrees_in_later_cases_too(told):
    inverted = "return np.arange(keys) > start + np.arange(queries)[:, None]"
    assert "<=" not in told(inverted, "causal_mask").meaning
    all_inverted = (
        "i, j = start + np.arange(queries)[:, None], np.arange(keys)\n"
        "    return (j > i) if window is None else (j > i) | (j <= i - window)"
    )
    assert "True and False are exchanged" in told(all_inverted, "causal_mask").meaning
    missing = "return np.arange(keys) < start + np.arange(queries)[:, None]"
    assert told(missing, "causal_mask").meaning == ""  # the comparison is wrong, and the window is missing
    full = (
        "i, j = start + np.arange(queries)[:, None], np.arange(keys)\n"
        "    return (j < i) if window is None else (j < i) & (j > i - window)"
    )
    assert "the comparison is <=, not <" in told(full, "causal_mask").meaning


@pytest.mark.parametrize(
    "mask", ["np.eye(queries, keys, dtype=bool)", "np.arange(keys) <= keys // 4", "np.eye(queries, keys, start // 4)"]
)
def test_the_form_of_a_mistake_is_named_only_if_it_explains_the_later_cases_too(told, mask):
    """The first failing case has two keys, of which one is visible: almost every wrong mask is its inverse."""
    meaning = told(f"return np.zeros((queries, keys), bool) | np.array({mask}, bool)", "causal_mask").meaning
    assert not any(word in meaning for word in ("inverted", "reverse", "shifted", "transposed"))


def test_a_factor_near_one_is_no_missing_factor(told):
    verdict = told("e = np.exp(scores - scores.max(-1, keepdims=True)); return e / (e.sum(-1, keepdims=True) + 1e-6)")
    assert (verdict.stage, verdict.meaning) == ("value", "")


ANSWER = "e = np.exp(scores - scores.max(-1, keepdims=True)); right = e / e.sum(-1, keepdims=True)"
AFTER_THE_CASES = """softmax.calls = getattr(softmax, "calls", 0) + 1
    {answer}
    if softmax.calls > {cases}:
        {then}
    return right"""


@pytest.mark.parametrize(
    ("then", "stage", "message"),
    [
        ("raise ValueError('no')", "error", "ValueError: no"),
        ("raise SystemExit(0)", "error", "SystemExit: 0"),
        ("import os; os._exit(0)", "ended", "exit code 0"),
        ("while True: pass", "time", "the code took more than 0.5 seconds"),
        ("return None", "none", "result is None"),
        ("return [1.0]", "type", "of type list"),
        ("return right * 2", "property", "first differs"),
        ("scores[0] = 7", "inputs", "scores was changed"),
        ("open('/etc/passwd')", "forbidden", "open /etc/passwd"),
        ("raise NotImplementedError", "not started", "not started yet"),
        ("print('x' * 10**7)", "output", "printed more than"),
    ],
)
def test_whatever_fails_where_a_property_calls_the_function_is_a_failure(then, stage, message):
    softmax = find_exercise("softmax")
    body = AFTER_THE_CASES.format(answer=ANSWER, cases=len(all_cases(softmax, 5)), then=then)
    with Worker(Limits(call_s=0.5)) as worker:
        verdict = check(softmax, f"{softmax.sections['learner']}\n    {body}\n", worker, 5)
    assert (verdict.passed, verdict.stage) == (False, stage)
    assert message in verdict.message
    assert "not this input of a property" in verdict.message
    assert verdict.example.startswith("scores = [")


def test_random_cases_are_fresh_and_their_seed_is_told(worker):
    """A function that knows every fixed case by heart fails, and its report says how to see the failure again."""
    softmax = find_exercise("softmax")
    known = [inputs["scores"].tolist() for inputs, seed in all_cases(softmax, 0)]
    body = f"{ANSWER}\n    inf, nan = np.inf, np.nan\n    return right if scores.tolist() in {known} else right * 2"
    source = f"{softmax.sections['learner']}\n    {body}\n"
    first, second = check(softmax, source, worker), check(softmax, source, worker)
    assert (first.passed, first.stage) == (False, "value")
    assert first.seed not in (None, second.seed)
    again = check(softmax, source, worker, first.seed)
    assert (again.example, again.seed) == (first.example, first.seed)
    assert f"--seed {first.seed}" in " ".join(verdict_text(first).split())
    assert check(softmax, "def softmax(scores): return scores", worker).seed is None  # fails in a fixed case


def test_the_cases_of_a_seed_are_added_to_the_fixed_ones():
    for exercise in all_exercises():
        fixed, both = all_cases(exercise, 0), all_cases(exercise, 1)
        assert len(fixed) == len(exercise.cases())
        assert len(fixed) <= len(both) <= 2 * len(fixed)
        assert len(both) > len(fixed) or "random." not in exercise.sections["check"]


@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda exercise: exercise.label)
def test_strange_results_are_wrong_and_judged_at_once(exercise, worker):
    """A few for each exercise, drawn by its number; the longer test below has all."""
    drawn = random.Random(exercise.number)
    for strange in drawn.sample(STRANGE, 2):
        check_strange(exercise, strange, drawn.choice([0, 1, len(all_cases(exercise, 0))]), worker)


@pytest.mark.slow
@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda exercise: exercise.label)
def test_all_strange_results_are_wrong(exercise, worker):
    for strange in STRANGE[exercise.number % 3 :: 3]:  # a third in each, since all take minutes
        for after in (0, 1, len(all_cases(exercise, 0))):
            check_strange(exercise, strange, after, worker)


def check_strange(exercise, strange, after, worker):
    began = time.process_time()
    verdict = check(exercise, strange_source(exercise, strange, after), worker, 0)
    assert time.process_time() - began < 5, strange
    assert "\n" not in verdict.message
    verdict_text(verdict)
    if verdict.passed:  # it was not called again, or the result is the right one after all
        nothing_returned = exercise.name == "copy_on_write"
        as_precise = "repeat" in strange or "astype('f4')" in strange  # within the tolerance
        assert after >= verdict.cases or as_precise or nothing_returned, strange


@pytest.mark.parametrize(
    ("which", "strange", "after"),
    [
        ("kv_cache_memory", "np.array([right, right])", 8),
        ("break_even_day", "10**18", 0),
        ("continuous_batch", "right + [[]] * 30_000", 1),
    ],
)
def test_results_that_once_crashed_or_hung(which, strange, after, worker):
    exercise = find_exercise(which)
    began = time.process_time()
    verdict = check(exercise, strange_source(exercise, strange, after), worker, 0)
    assert not verdict.passed
    assert time.process_time() - began < 5
