"""Every lesson runs, every cell can be run again, and every lesson has what a lesson must have."""

import ast
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from computed_once import computed_once

from minillm.classroom.exercises.exercise import all_exercises
from minillm.classroom.player.lessons import all_lessons
from minillm.evidence.claims import all_claims

pytestmark = pytest.mark.slow
WIDTH = 78  # code is indented by 2 on a terminal of 80 columns
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
LESSONS = all_lessons()
WITHOUT_A_RUN = (2, 12, 13)  # training, queues and costs: a trace is of a run of the engine
PICTURES = ("bars", "heatmap", "timeline", "block_map", "roofline")


def code_of(lesson):
    return "\n".join(cell.source for cell in lesson.cells if cell.kind == "code")


def test_the_lessons_are_numbered_without_a_gap():
    assert [lesson.number for lesson in LESSONS] == list(range(1, len(LESSONS) + 1))
    assert LESSONS


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The exit code of every lesson and what it printed, every cell having run twice.

    Each in a process of its own, as many at a time as there are cores: here, every call would be checked, which takes
    many times as long as the call.
    """

    def run(lesson):
        command = [sys.executable, str(Path(__file__).with_name("run_twice.py")), str(lesson.path)]
        environment = {**os.environ, **ONE_THREAD}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        return done.returncode, done.stdout, done.stderr

    def run_all():
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return dict(zip([lesson.name for lesson in LESSONS], pool.map(run, LESSONS), strict=True))

    return computed_once(tmp_path_factory, "lessons", run_all)


def test_every_cell_runs_and_runs_again(lesson, runs):
    code, printed, errors = runs[lesson.name]
    assert (code, errors) == (0, "")
    assert printed.count("Answer") == sum(cell.asks for cell in lesson.cells)
    assert max(map(len, printed.splitlines())) <= 80


def test_without_a_reader_the_frames_that_matter_are_printed(lesson, runs):
    printed = re.findall(r"^(\d+) of (\d+) frames:$", runs[lesson.name][1], re.MULTILINE)
    assert len(printed) == len(re.findall(r"^ *step_through(?:_run)?\(", code_of(lesson), re.MULTILINE)) > 0
    assert all(0 < int(some) <= 4 and int(some) <= int(every) for some, every in printed)


def test_a_lesson_is_of_a_length_to_finish_in_one_sitting(lesson):
    assert 10 <= len(lesson.cells) <= 20


def test_lines_fit_a_terminal_of_80_columns(lesson):
    wide = [line for cell in lesson.cells for line in cell.source.splitlines() if len(line) > WIDTH]
    assert not wide


def test_a_lesson_asks_at_least_two_questions_and_draws_a_picture(lesson):
    assert sum(cell.asks for cell in lesson.cells) >= 2
    assert any(f"print({picture}(" in code_of(lesson) for picture in PICTURES)


def test_a_lesson_that_takes_times_asks_for_one_thread_before_numpy_is_there(lesson):
    """With more, the threads of a busy machine wait for each other: 64 tokens took longer than 64 times one."""
    code = code_of(lesson)
    if "process_time" in code or "perf_counter" in code:
        assert code.index('os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")') < code.index("\nimport minillm")
        assert "numpy" not in code[: code.index("os.environ")]


def test_no_answer_is_written_down(lesson):
    """An answer that is a literal could be wrong, and would be read before it is predicted."""
    answers = [node.value for node in ast.walk(ast.parse(code_of(lesson))) if getattr(node, "arg", "") == "answer"]
    assert answers
    assert not [answer.lineno for answer in answers if isinstance(answer, ast.Constant | ast.Tuple | ast.List)]


def test_a_lesson_ends_with_what_to_read_and_to_write(lesson):
    last = lesson.cells[-1].source
    assert lesson.cells[-1].kind == "prose"
    for expected in ("Sources:", "Read `minillm/", "xercise", "Explain"):
        assert expected in last
    for path in re.findall(r"`(minillm/[a-z_/]+\.py)`", last):
        assert (lesson.path.parents[2] / path).is_file(), path


def test_a_lesson_ends_with_its_exercises_by_number_and_with_the_command(lesson):
    last = " ".join(lesson.cells[-1].source.split())
    words = re.search("Write it yourself: exercises? (.*?)\\. `minillm exercise start my-exercises`", last)[1]
    own = [exercise for exercise in all_exercises() if exercise.lesson == lesson.number]
    assert re.findall(r"(\d+) `(\w+)`", words) == [(str(one.number), one.name) for one in own] != []
    assert f"There, run `minillm exercise check {own[0].number}`." in last


def keyword_texts(lesson, name):
    """The texts of this argument of `predict`. A number that is computed counts as one word."""
    for node in ast.walk(ast.parse(code_of(lesson))):
        if isinstance(node, ast.keyword) and node.arg == name:
            parts = node.value.values if isinstance(node.value, ast.JoinedStr) else [node.value]
            yield "".join(part.value if isinstance(part, ast.Constant) else "0" for part in parts)


def test_each_question_says_in_one_sentence_what_it_shows(lesson):
    sentences = list(keyword_texts(lesson, "shows"))
    assert len(set(sentences)) == len(sentences) == sum(cell.asks for cell in lesson.cells)
    for sentence in sentences:
        assert re.fullmatch(r"[A-Z][^!?]*[^.!?:]\.", sentence) and not re.search(r"\. [A-Z]", sentence), sentence
        assert 6 <= len(sentence.split()) <= 25, sentence


def test_a_lesson_judges_at_most_three_claims_and_names_the_command_for_the_others(lesson):
    names = re.findall(r'claim\(\s*"([\w-]+)"', code_of(lesson))
    assert len(names) <= 3
    others = re.search(r"`minillm claims --section (\w+)`", " ".join(lesson.cells[-1].source.split()))
    assert bool(others) == bool(names) or lesson.number == 1  # lesson 1 has both claims of its section
    assert not others or any(claim.section.lower().startswith(others[1]) for claim in all_claims())


def test_claims_have_names_of_their_own():
    names = [name for lesson in LESSONS for name in re.findall(r'claim\(\s*"([\w-]+)"', code_of(lesson))]
    assert len(set(names)) == len(names) >= len(LESSONS)


def test_the_page_that_a_lesson_names_can_be_made(lesson, tmp_path):
    found = re.findall(r"`minillm (trace [^`]*--html run\.html[^`]*)`", " ".join(lesson.cells[-1].source.split()))
    assert bool(found) == (lesson.number not in WITHOUT_A_RUN)
    for command in found:
        arguments = [tmp_path / "run.html" if word == "run.html" else word for word in shlex.split(command)]
        command = [sys.executable, "-m", "minillm", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **ONE_THREAD})
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "run.html").stat().st_size > 100_000
