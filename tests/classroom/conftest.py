"""The lessons; and progress that is kept apart from the reader's own."""

import pytest

from minillm.classroom.player.lessons import all_lessons


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(params=all_lessons(), ids=lambda lesson: lesson.name)
def lesson(request):
    return request.param
