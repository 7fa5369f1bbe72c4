"""Progress outlives the session, and nothing that happens to its file is more than a lesson begun anew."""

import builtins
import sys
from pathlib import Path
from unittest import mock

import pytest

from minillm.classroom.player.lessons import Lesson, find_lesson, parse_cells
from minillm.classroom.player.player import Player
from minillm.classroom.player.progress import (
    LessonProgress,
    drop_progress,
    load_progress,
    next_lesson,
    progress_file,
    save_progress,
)
from minillm.cli import lesson
from minillm.cli.lesson import _state
from minillm.cli.printing import say_unsaved


def test_what_is_saved_is_loaded():
    progress = {"a": LessonProgress(3, False, {"2": 1}), "b": LessonProgress(0, True)}
    for name, own in progress.items():
        save_progress(name, own)
    assert load_progress() == progress
    assert {file.name for file in progress_file().parent.iterdir()} == {"lessons.json", "lessons.bak", "lessons.lock"}


@pytest.mark.parametrize(
    ("platform", "environment", "folder"),
    [
        ("linux", {"XDG_DATA_HOME": "/data", "HOME": "/home/me"}, "/data/minillm"),
        ("linux", {"HOME": "/home/me"}, "/home/me/.local/share/minillm"),
        ("linux", {"XDG_DATA_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/share/minillm"),
        ("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Application Support/minillm"),
        ("darwin", {"XDG_DATA_HOME": "/data", "HOME": "/Users/me"}, "/data/minillm"),
    ],
)
def test_progress_lies_with_the_users_data_and_not_in_a_cache(monkeypatch, platform, environment, folder):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("XDG_DATA_HOME")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(progress_file()) == f"{folder}/lessons.json"


OLD = '{"a": {"cell": 3, "finished": false, "answers": {"2": 1}}}'


def test_progress_in_the_cache_is_taken_over(tmp_path):
    """Until something is saved it stays where it is, and then it is moved."""
    old = tmp_path / "cache" / "lessons.json"
    old.parent.mkdir()
    old.write_text(OLD)
    assert load_progress() == {"a": LessonProgress(3, False, {"2": 1})} and not progress_file().exists()
    save_progress("b", LessonProgress(1))
    assert load_progress() == {"a": LessonProgress(3, False, {"2": 1}), "b": LessonProgress(1)}
    assert not old.exists()
    old.write_text(OLD.replace("a", "c"))
    assert "c" not in load_progress()  # what was saved since counts


def test_progress_under_an_earlier_number_belongs_to_the_same_topic():
    """Speculative decoding was lesson 9 and is 10. Its progress is neither lost nor given to another lesson."""
    save_progress("other", LessonProgress())
    progress_file().write_text(OLD.replace("a", "09_speculative_decoding", 1))
    assert load_progress() == {"speculative_decoding": LessonProgress(3, False, {"2": 1})}
    known = {"speculative_decoding": LessonProgress(0, True), "paged_attention": LessonProgress(1)}
    assert next_lesson([find_lesson("10"), find_lesson("11")], known).number == 11
    save_progress("speculative_decoding", LessonProgress(5))
    assert load_progress() == {"speculative_decoding": LessonProgress(5, False, {"2": 1})}


def test_without_a_home_folder_one_line_says_so(monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "home", mock.Mock(side_effect=RuntimeError("could not determine the home folder")))
    with pytest.raises(OSError, match="set XDG_DATA_HOME"):
        save_progress("a", LessonProgress())
    assert load_progress() == {}


@pytest.mark.parametrize(
    "damaged",
    ["", "{", "[]", "null", '{"a": 1}', '{"a": {"cell": -1, "finished": true, "answers": {}}}', '{"a": {}}',
     '{"a": {"cell": 1, "finished": true, "answers": []}}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_file_counts_as_its_copy_and_without_one_as_none(damaged):
    save_progress("a", LessonProgress(1))
    save_progress("a", LessonProgress(2))
    progress_file().write_text(damaged)
    assert load_progress() == {"a": LessonProgress(1)}
    save_progress("b", LessonProgress(3))
    assert load_progress() == {"a": LessonProgress(1), "b": LessonProgress(3)}
    for file in (progress_file(), progress_file().with_suffix(".bak")):
        file.write_text(damaged)
    assert load_progress() == {}
    save_progress("b", LessonProgress(4))
    assert load_progress() == {"b": LessonProgress(4)}


def test_two_terminals_keep_the_answers_of_both():
    """Only the first answer to a question counts."""
    first, second = LessonProgress(3, False, {"2": 3}), LessonProgress(5, False, {"2": 1, "4": 1})
    save_progress("a", first)
    save_progress("a", second)
    assert load_progress()["a"] == LessonProgress(5, False, {"2": 3, "4": 1})
    drop_progress("a")
    assert load_progress() == {}


def test_where_nothing_can_be_written_one_line_says_so_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file" / "inside"))
    short = Lesson(tmp_path / "01_eggs" / "lesson.py", parse_cells("# %%\na = 1\n" * 3, "lesson.py"))
    for restart in (False, True):
        monkeypatch.setattr(builtins, "input", mock.Mock(side_effect=["", "b", EOFError()]))
        lesson._play(short, restart)
        path = tmp_path / "file" / "inside" / "minillm" / "lessons.json"
        assert capsys.readouterr().err == f"minillm: progress is not saved: {path}: Not a directory\n"
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
        Player(lesson, progress, lambda: save_progress(lesson.topic, progress), lambda *_: None).play()
        assert list(waiting) == []
        return load_progress()[lesson.topic]

    return play


def test_the_first_time_that_a_question_is_answered_counts(read):
    """Once right at the second try; then, back at it and run again, at the first, at the third, and not at all."""
    rerun = ("r", "12", "r", "1", "2", "12", "r", "", "")
    assert read("11", "12", "", "24", "b", *rerun, "q") == LessonProgress(0, False, {"0": 2, "1": 1})


def test_an_answer_is_kept_at_once(read):
    """Also where the cell failed when it was reached, and is run again before the reader leaves."""
    text = "# %%\nruns = globals().get('runs', 0) + 1\nassert runs > 1\n" + QUESTIONS.removeprefix("# %%\n")
    assert read("r", "11", "12", "q", text=text) == LessonProgress(0, False, {"0": 2})


def test_only_what_was_right_at_the_first_try_is_counted_as_that(read, capsys):
    progress = read("12", "", "23", "24", "", "", "", "")
    assert progress == LessonProgress(0, True, {"0": 1, "1": 2, "2": 0})
    assert "1 of 3 right at the first attempt." in capsys.readouterr().out


def test_the_list_tells_how_far_a_reader_is_and_how_many_were_right_at_once(tmp_path):
    lesson, tries = Lesson(tmp_path / "01_eggs" / "lesson.py", parse_cells(QUESTIONS, "lesson.py")), {"0": 1, "1": 2}
    assert _state(lesson, LessonProgress()) == "not started"
    assert _state(lesson, LessonProgress(1, False, tries)) == "at 2 of 3"
    assert _state(lesson, LessonProgress(99999999)) == "at 3 of 3"
    assert _state(lesson, LessonProgress(1, True, tries)) == "at 2 of 3, finished before"
    assert _state(lesson, LessonProgress(0, True, tries | {"2": 0})) == "done, 1 of 3 right first time"


def test_on_a_narrow_terminal_the_line_is_wrapped(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    say_unsaved("/home/me/lessons.json: Not a directory")
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    say_unsaved("/home/me/lessons.json: Not a directory")
    assert max(map(len, capsys.readouterr().err.splitlines())) <= 40
