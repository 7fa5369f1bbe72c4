"""Progress outlives the session, and nothing that happens to its file is more than a lesson begun anew."""

import builtins

import pytest

from minillm.classroom.player.lessons import Lesson, parse_cells
from minillm.classroom.player.player import Player
from minillm.classroom.player.progress import LessonProgress, load_progress, progress_file, save_progress
from minillm.cli.lesson import _state


def test_what_is_saved_is_loaded():
    progress = {"01_a": LessonProgress(3, False, {"2": 1}), "02_b": LessonProgress(0, True)}
    save_progress(progress)
    assert load_progress() == progress
    assert [file.name for file in progress_file().parent.iterdir()] == ["lessons.json"]


@pytest.mark.parametrize(
    "damaged",
    ["", "{", "[]", "null", '{"a": 1}', '{"a": {"cell": -1, "finished": true, "answers": {}}}', '{"a": {}}',
     '{"a": {"cell": 1, "finished": true, "answers": []}}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_file_counts_as_none(damaged):
    progress_file().parent.mkdir(parents=True)
    progress_file().write_text(damaged)
    assert load_progress() == {}


def test_where_nothing_can_be_written_one_line_says_so(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "file" / "inside"))
    save_progress({"01_a": LessonProgress(3)})
    assert capsys.readouterr().err.count("\n") == 1
    assert load_progress() == {}


QUESTIONS = """# %%
from minillm.classroom.questions import predict
predict("How many eggs are in a dozen?", answer=12)
# %%
predict("And in two?", answer=24)
# %%
predict("And in three?", answer=36)
"""


@pytest.fixture
def read(monkeypatch, tmp_path):
    """Read a lesson with these lines typed; what then is known of the reader."""

    def play(*typed, text=QUESTIONS):
        lesson = Lesson(tmp_path / "01_eggs" / "lesson.py", parse_cells(text, "lesson.py"))
        waiting, progress = iter(typed), LessonProgress()
        monkeypatch.setattr(builtins, "input", lambda prompt: next(waiting))
        Player(lesson, progress, lambda: save_progress({lesson.name: progress}), lambda *_: None).play()
        assert list(waiting) == []
        return load_progress()[lesson.name]

    return play


def test_the_first_time_that_a_question_is_answered_counts(read):
    """Once right at the second try; then, back at it and run again, at the first, at the third, and not at all."""
    rerun = ("r", "12", "r", "1", "2", "12", "r", "")
    assert read("11", "12", "", "24", "b", *rerun, "q") == LessonProgress(0, False, {"0": 2, "1": 1})


def test_an_answer_is_kept_at_once(read):
    """Also where the cell failed when it was reached, and is run again before the reader leaves."""
    text = "# %%\nruns = globals().get('runs', 0) + 1\nassert runs > 1\n" + QUESTIONS.removeprefix("# %%\n")
    assert read("r", "11", "12", "q", text=text) == LessonProgress(0, False, {"0": 2})


def test_only_what_was_right_at_the_first_try_is_counted_as_that(read, capsys):
    progress = read("12", "", "23", "24", "", "", "")
    assert progress == LessonProgress(0, True, {"0": 1, "1": 2, "2": 0})
    assert "1 of 3 right at the first attempt." in capsys.readouterr().out


def test_the_list_tells_how_far_a_reader_is_and_how_many_were_right_at_once(tmp_path):
    lesson, tries = Lesson(tmp_path / "01_eggs" / "lesson.py", parse_cells(QUESTIONS, "lesson.py")), {"0": 1, "1": 2}
    assert _state(lesson, LessonProgress()) == "not started"
    assert _state(lesson, LessonProgress(1, False, tries)) == "at 2 of 3"
    assert _state(lesson, LessonProgress(1, True, tries)) == "at 2 of 3, finished before"
    assert _state(lesson, LessonProgress(0, True, tries | {"2": 0})) == "done, 1 of 3 right first time"
