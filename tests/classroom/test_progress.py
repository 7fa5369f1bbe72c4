"""Progress outlives the session, and nothing that happens to its file is more than a lesson begun anew."""

import pytest

from minillm.classroom.progress import LessonProgress, load_progress, progress_file, save_progress


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
