"""A lesson's file is split into cells; a file that is not a lesson is refused."""

import pytest

from minillm.classroom.player.lessons import Cell, find_lesson, parse_cells
from minillm.support.shipped import shipped


def test_a_file_is_cut_at_its_markers():
    text = "# %% [markdown]\n# # Title\n#\n# words\n\n# %%\nx = 1\n\n# %%\nprint(x)  # %% no marker\n"
    assert parse_cells(text, "f") == (
        Cell("prose", "# Title\n\nwords", 2),
        Cell("code", "x = 1", 7),
        Cell("code", "print(x)  # %% no marker", 10),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "f: expected a lesson, whose first line"),
        ("import os\n# %%\n", "f: expected a lesson, whose first line"),
        ("# %% [markdown]\n# a\nb = 1\n", "f, line 3: expected prose"),
    ],
)
def test_what_is_no_lesson_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_cells(text, "f")


def test_a_question_and_claims_speak_for_themselves():
    question, claims, other = (Cell("code", f"{name}(1)", 1) for name in ("predict", "claim", "print"))
    assert (question.asks, claims.asks, other.asks) == (True, False, False)
    assert (question.speaks, claims.speaks, other.speaks) == (True, True, False)
    assert not Cell("prose", "predict(1)", 1).asks


@pytest.mark.parametrize("wanted", ["1", "01", "what_is_inference", "01_what_is_inference"])
def test_a_lesson_is_found_by_number_and_by_name(wanted):
    assert find_lesson(wanted).path == shipped("lessons") / "01_what_is_inference" / "lesson.py"


@pytest.mark.parametrize("wanted", ["0", "99", "inference?", ""])
def test_an_unknown_lesson_is_one_line_that_lists_the_known_ones(wanted):
    with pytest.raises(ValueError, match="expected one of 1 what_is_inference") as problem:
        find_lesson(wanted)
    assert "\n" not in str(problem.value)
