"""course.toml: what it may say, and what it says about late work."""

from datetime import UTC, datetime, timedelta

import pytest

from minillm.classroom.grading.course_file import Course, chosen, course_text, read_course

WHOLE = """
exercises = "1-3, attention"
due = 2026-12-10T23:59:00+01:00
seed = 9
seed_per_learner = true
learners = ["ada", "e\u0301lo \\"x\\""]
[late]
percent_per_day = 10
days = 5
[points]
softmax = 2.5
6 = 4
"""


def course_of(tmp_path, text):
    file = tmp_path / "course.toml"
    file.write_text(text)
    return read_course(file)


def test_a_whole_file(tmp_path):
    course = course_of(tmp_path, WHOLE)
    assert [exercise.number for exercise in course.exercises] == [1, 2, 3, 6]
    assert [course.points_of(exercise) for exercise in course.exercises] == [1.0, 1.0, 2.5, 4.0]
    assert course.due == datetime(2026, 12, 10, 22, 59, tzinfo=UTC)
    assert (course.percent_per_day, course.days, course.seed, course.seed_per_learner) == (10, 5, 9, True)


def test_what_course_text_writes_is_read_again(tmp_path):
    course = course_of(tmp_path, WHOLE)
    again = course_of(tmp_path, course_text(course))
    assert again.described == course.described
    assert again.learners == course.learners == ("ada", '\u00e9lo "x"')  # one form of an accent
    assert again.seed == course.seed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("points = 3", "expected a table"), ("[points]\nsoftmx = 2", "no exercise 'softmx'"),
        ("[points]\nsoftmax = -1", "points of softmax"), ("[points]\nsoftmax = 1.234", "two decimals"),
        ("[points]\nsoftmax = nan", "points of softmax"), ("[points]\nsoftmax = true", "points of softmax"),
        ("due = 2026-12-10", "a date with a time"), ("due = 'soon'", "a date with a time"),
        ("due = ", "not valid TOML"),
        ("[late]\npercent = 3", "not a key of"), ("[late]\npercent_per_day = 101", "from 0 to 100"),
        ("exercises = [1]", "expected a text"), ("exercises = '9-3'", "smaller number first"),
        ("exercises = '1-99'", "no exercise"), ("excercises = '1'", "not a key of"), ("seed = -1", "at least 0"),
        ("seed_per_learner = 1", "True or False"), ("learners = 'ada'", "a list of names"),
        ("learners = ['a', 3]", "a list of names"), ("learners = ['ada', ' ada']", "each name once"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line(tmp_path, text, words):
    with pytest.raises(ValueError, match=words) as problem:
        course_of(tmp_path, text)
    assert "course.toml" in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("late", "days", "left"),
    [(-1, 0, 8.0), (0, 0, 8.0), (1, 1, 7.2), (86_400, 1, 7.2), (86_401, 2, 6.4), (3 * 86_400, 3, 0.0)],
)
def test_begun_days(late, days, left):
    due = datetime(2026, 12, 10, tzinfo=UTC)
    course = Course((), due=due, percent_per_day=10, days=2)
    assert course.days_late(due + timedelta(seconds=late)) == days
    assert course.score(8.0, days) == left


def test_a_choice_of_exercises():
    assert [exercise.number for exercise in chosen("5,3-4,softmax")] == [3, 4, 5]
