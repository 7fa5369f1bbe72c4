"""The course check passes on the course, and fails on a course in which something is wrong."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from computed_once import computed_once

from minillm.classroom.exercises import course, exercise
from minillm.classroom.exercises.bughunt import all_bugs
from minillm.classroom.exercises.checker import Verdict
from minillm.classroom.exercises.exercise import all_exercises, find_exercise
from minillm.classroom.player.lessons import all_lessons
from minillm.cli.main import run
from minillm.support.shipped import shipped

PROGRAM = """
import json
from contextlib import nullcontext
from minillm.classroom.exercises import course
from minillm.classroom.exercises.exercise import all_exercises
with course.Worker() as shared:
    course.Worker = lambda: nullcontext(shared)
    print(json.dumps({one.label: course.check_exercise(one).problems for one in all_exercises()}))
"""


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """Of all exercises, in one worker. A process of its own, since checks of shapes would take most of the time."""

    def check():
        return json.loads(subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, check=True).stdout)

    return computed_once(tmp_path_factory, "course", check)


@pytest.mark.parametrize("label", [one.label for one in all_exercises()])
def test_every_exercise_does_what_it_is_there_for(problems, label):
    assert problems[label] == []


def test_there_are_enough_of_them_over_all_the_lessons():
    exercises = all_exercises()
    assert [one.number for one in exercises] == list(range(1, len(exercises) + 1))
    assert len(exercises) >= 42
    assert sum(one.lesson >= 10 for one in exercises) >= 6
    assert {one.lesson for one in exercises} == {lesson.number for lesson in all_lessons()}
    first = [one.lesson for one in exercises[:29]]  # the later ones were added without moving a number
    assert first == sorted(first)


def test_the_readme_lists_the_exercises_that_run_in_the_engine():
    numbers = [one.number for one in all_exercises() if "plug" in one.namespace]
    firsts = [number for number in numbers if number - 1 not in numbers]
    lasts = [number for number in numbers if number + 1 not in numbers]
    pairs = zip(firsts, lasts, strict=True)
    listed = ", ".join(f"{first} to {last}" if first < last else str(first) for first, last in pairs)
    assert f"can run in the real engine: {listed}. " in (shipped("lessons") / "README.md").read_text()


def test_the_later_exercises_name_what_to_read():
    """A section of the article, and a page where no lesson has the subject."""
    for one in all_exercises()[29:]:
        words = " ".join(one.namespace["__doc__"].split())
        assert re.search(r"Article: [A-Z][\w ]+(, \d)?\.", words), one.label
        pages = re.findall(r"docs/\w+\.md", words)
        assert all((shipped("exercises").parent / page).is_file() for page in pages)
        assert bool(pages) == (one.lesson in (14, 17))


def test_a_solution_that_differs_from_the_engine_is_found(tmp_path, monkeypatch):
    problems = spoiled(tmp_path, monkeypatch, "exercise.py", "return softmax(scores)", "return softmax(scores) + 1e-8")
    assert problems.startswith("the engine's result first differs at [0]: got 0.268941")


def test_the_readmes_count_right():
    """How many lessons and exercises there are, each with a link to it; and where the bug hunt's estimates begin."""
    root = shipped("exercises").parent
    readme, lessons = ((root / name).read_text() for name in ("README.md", "lessons/README.md"))
    first = next(n for n, bug in enumerate(all_bugs(), start=1) if bug.kind == "estimates")
    assert f"{len(all_lessons())} lessons, {len(all_exercises())} exercises" in " ".join(readme.split())
    assert len(all_lessons()) == 17 and "in seventeen lessons" in lessons
    assert f"{len(all_exercises())} functions" in lessons and f"From number {first} on" in lessons
    for lesson in all_lessons():
        where = lesson.path.relative_to(root)
        exercises = [one for one in all_exercises() if one.lesson == lesson.number]
        links = ", ".join(f"[{one.number} {one.name}](exercises/{one.folder.name})" for one in exercises)
        assert f"| {lesson.number} | [{lesson.title}]({where}) | {links} |" in readme
        assert f"| {lesson.number} | [{lesson.title}]({where.relative_to('lessons')}) |" in lessons
        timed = re.search(rf"^\| {lesson.number} \| [^|\[]+ \| ([\d:, ]+) \|", lessons, re.MULTILINE)[1]
        assert re.findall(r"(\d+):", timed) == [str(one.number) for one in exercises]


def spoiled(tmp_path, monkeypatch, file, old, new):
    """The softmax exercise alone, with one thing changed."""
    shutil.copytree(shipped("exercises") / "03_softmax", tmp_path / "03_softmax")
    path = tmp_path / "03_softmax" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    monkeypatch.setattr(exercise, "shipped", lambda name: tmp_path)
    monkeypatch.setattr(course, "all_lessons", lambda: [])
    [part] = course.check_course(lambda part: None)
    return " ".join(part.problems)


SOLUTION, BEGIN = "exponentials.sum(axis=-1, keepdims=True)", "    # %% solution\n"
WRONG_AXIS = "scores.max(axis=0, keepdims=True))\n    return exponentials / exponentials.sum(axis=0, keepdims=True)"
ONE_SUM = "scores.max(axis=-1, keepdims=True))\n    return exponentials / exponentials.sum()"
NOT_NORMALISED = f'    """{find_exercise("softmax").bugs["not_normalised"].__doc__}"""\n'


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("exercise.py", "HINTS = (", "HINTS = (  # four", ""),
        ("exercise.py", '    "exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))",\n', "", "3 hints"),
        ("exercise.py", SOLUTION + "\n", "1\n", "the solution fails with seed 0"),
        ("exercise.py", BEGIN, "    return scores\n" + BEGIN, "not reported as not started"),
        ("exercise.py", BEGIN, BEGIN + "    scores = scores + 0\n" * 20, "22 lines"),
        ("exercise.py", "[-2000.0, -2001.0]", "[-2.0, -1.0]", "bug one_maximum_for_all_rows passes"),
        ("bugs.py", "exponentials.sum()", SOLUTION, "bug one_sum_for_all_rows passes"),
        ("bugs.py", NOT_NORMALISED, "", "bug not_normalised has no docstring"),
        ("bugs.py", WRONG_AXIS, ONE_SUM, "bug wrong_axis gets"),
    ],
)
def test_what_is_wrong_with_an_exercise_is_found(tmp_path, monkeypatch, file, old, new, problem):
    found = spoiled(tmp_path, monkeypatch, file, old, new)
    assert problem in found
    assert bool(found) == bool(problem)


def test_a_lesson_that_fails_is_found(tmp_path):
    lesson = tmp_path / "01_one" / "lesson.py"
    lesson.parent.mkdir()
    lesson.write_text("print('well')")
    assert course.check_lesson(lesson) == course.Part("lesson 01_one", ())
    lesson.write_text("1 / 0")
    assert course.check_lesson(lesson).problems == ("the lesson failed: ZeroDivisionError: division by zero",)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_solution_is_tried_with_two_seeds(monkeypatch, failing):
    def check(exercise, source, worker, seed=0):
        if source == exercise.stub:
            return Verdict(exercise.label, False, "not started")
        return Verdict(exercise.label, seed != failing, "" if seed != failing else "value", "first differs")

    monkeypatch.setattr(course, "check", check)
    [problem] = course._stub_and_solution(find_exercise("softmax"), course.Worker())
    assert problem.startswith(f"the solution fails with seed {failing}: first differs")


@pytest.mark.parametrize("problems", [(), ("it fails", "it is long")])
def test_the_command_fails_where_something_is_wrong(monkeypatch, capsys, problems):
    parts = [course.Part("03_softmax", problems), course.Part("lesson 01_one", ())]
    monkeypatch.setattr(course, "check_course", lambda report: [report(part) for part in parts] and parts)
    code, wrong = (1, 1) if problems else (0, 0)
    assert run(["course", "check"]) == code
    first = [f"03_softmax: {problem}" for problem in problems or ("ok",)]
    *told, last = capsys.readouterr().out.splitlines()
    assert told == [*first, "lesson 01_one: ok"]
    assert last.startswith(f"2 parts, {wrong} with problems, in ")
    assert run(["course", "check", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert (found["wrong"], found["parts"][0]["problems"]) == (wrong, list(problems))
