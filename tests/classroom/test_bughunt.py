"""The bug hunt: one bug in an engine, its function and its line."""

import pytest

from minillm.classroom import bughunt


@pytest.mark.parametrize("number", range(1, len(bughunt.all_bugs()) + 1))
def test_a_bug_is_one_line_in_the_function_it_names(number):
    bug = bughunt.find_bug(number)
    right, wrong = bughunt.engine_text().splitlines(), bughunt.planted(bug).splitlines()
    changed = [n for n, pair in enumerate(zip(right, wrong, strict=True), start=1) if pair[0] != pair[1]]
    function, line = bughunt.place_of(bug)
    assert changed == [line]
    above = [text for text in wrong[:line] if text.lstrip().startswith("def ")]
    assert above[-1].lstrip().startswith(f"def {function}(")


def test_answers():
    function, line = bughunt.place_of(bughunt.find_bug(1))
    found, text = bughunt.answer(1, f"{function}:{line}")
    assert found
    assert bughunt.find_bug(1).right in text
    assert bughunt.answer(1, f"{function}:{line + 1}") == (False, "The function is right, the line is another.")
    assert bughunt.answer(1, "batch:3")[1].startswith("It is somewhere else")


def test_an_engine_that_was_written_stays_as_it_is(tmp_path):
    file = bughunt.hunt_file(tmp_path, 2)
    assert file.read_text() == bughunt.planted(bughunt.find_bug(2))
    file.write_text("mended")
    bughunt.hunt_file(tmp_path, 2)
    assert file.read_text() == "mended"
