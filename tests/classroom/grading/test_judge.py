"""The points of every exercise: all for the solution, none for the stub, less than all for each planted bug."""

import pytest

from minillm.classroom.exercises.exercise import all_exercises, find_exercise
from minillm.classroom.grading.judge import grade_exercise, planned_rows
from minillm.classroom.grading.result import NOT_HANDED_IN, total
from minillm.classroom.grading.staging import Staged
from minillm.classroom.worker.worker import Worker

SEEDS = (11, 12)


def points(exercise, source, seed=11):
    with Worker() as worker:
        rows = grade_exercise(exercise, Staged("a.py", source), 1.0, seed, worker)
    assert [row.check for row in rows] == [row.check for row in planned_rows(exercise, 1.0)]
    return total(row.points for row in rows), rows


@pytest.mark.slow
@pytest.mark.parametrize("exercise", all_exercises()[::7], ids=lambda exercise: exercise.label)  # all take 4 minutes
def test_every_seventh_exercise(exercise):
    for seed in SEEDS:
        given, rows = points(exercise, exercise.solution, seed)
        assert given == 1.0, rows
    given, rows = points(exercise, exercise.stub)
    assert (given, {row.outcome for row in rows}) == (0.0, {NOT_HANDED_IN})
    for name in exercise.bugs:
        given, rows = points(exercise, f"{exercise.bugs_text}\n{exercise.name} = {name}\n")
        assert given <= 0.5, (name, rows)
        assert not rows[0].passed


@pytest.mark.parametrize("worth", [0.0, 0.01, 0.05, 1.0, 2.33, 100.0])
@pytest.mark.parametrize("name", ["softmax", "attention", "decode_loop"])
def test_the_shares_are_hundredths_that_add_up(worth, name):
    rows = planned_rows(find_exercise(name), worth)
    assert total(row.out_of for row in rows) == worth
    assert all(round(row.out_of, 2) == row.out_of >= 0 for row in rows)
    assert rows[0].out_of >= worth / 2


def test_a_function_that_is_nearly_right_gets_a_part():
    """One kind of input in few is wrong, and the rows still sum to 1."""
    exercise = find_exercise("softmax")
    nearly = exercise.solution.rstrip() + "\n\nright = softmax\n\ndef softmax(scores):\n"
    nearly += "    result = right(scores)\n    return result[..., ::-1].copy() if scores.shape[-1] == 2 else result\n"
    given, rows = points(exercise, nearly)
    assert 0 < given < 1
    assert not rows[0].passed
