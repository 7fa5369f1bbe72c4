"""What learners have in hand: a part of the exercises, hints while watching, and their whole result in a report."""

import json
import os
import pty
import select

import numpy as np
import pytest
from exercise_files import solve, write_body

from minillm.classroom.exercises import watch
from minillm.classroom.exercises.exercise import all_exercises, find_exercise
from minillm.classroom.exercises.whole import whole_rows
from minillm.classroom.exercises.workspace import Workspace
from minillm.classroom.worker.wire import Other

LAYER = [one.label for one in all_exercises() if one.lesson in (3, 4)]


def labels(folder):
    return sorted(file.stem for file in folder.glob("[0-9]*.py"))


def test_the_exercises_of_two_lessons(call, tmp_path):
    folder = tmp_path / "work"
    result = call("exercise", "start", folder, "--lesson", "3,4")
    assert (result.code, labels(folder)) == (0, LAYER)
    assert result.out.startswith(f"6 exercises are in {folder}. Go there, open 03_softmax.py")
    readme = (folder / "README.md").read_text()
    assert (readme.count("| 3 | `"), readme.count("| 4 | `")) == (4, 2)
    assert "minillm exercise check 3  " in readme and "pytest -k attention" in readme
    at = ("--dir", folder)
    status = json.loads(call("exercise", "status", *at, "--json").out)
    assert [one["exercise"] for one in status["exercises"]] == LAYER
    solve(folder, "softmax")
    write_body(folder, "swiglu", "return gate")
    (folder / "04_rope.py").unlink()
    found = json.loads(call("exercise", "check", *at, "--json").out)["exercises"]
    assert [one["exercise"] for one in found] == LAYER
    assert [one["stage"] for one in found] == ["", "missing", *["not started"] * 3, "value"]
    call("exercise", "reset", 20, *at)  # a file that comes later is one of them, too
    assert [one.number for one in Workspace(folder).exercises] == [3, 4, 5, 6, 20, 31, 32]


def test_some_exercises_by_number_or_name(call, tmp_path):
    assert call("exercise", "start", tmp_path / "a", "--only", "rope, 3,softmax").code == 0
    assert labels(tmp_path / "a") == ["03_softmax", "04_rope"]
    shown = json.loads(call("exercise", "start", tmp_path / "b", "--lesson", "1,2", "--json").out)
    assert shown["exercises"] == ["01_naive_decode", "02_loss_gradient"]
    assert call("exercise", "start", tmp_path / "e", "--only", "1-12,rope").out.startswith("12 exercises are in")
    assert call("exercise", "start", tmp_path / "c", "--only", "12").out.startswith("1 exercise is in")
    assert len(labels(Workspace.start(tmp_path / "d").folder)) == len(all_exercises())


def test_a_damaged_list_means_all(call, tmp_path):
    folder = Workspace.start(tmp_path / "work", [find_exercise("rope")]).folder
    file = folder / ".minillm" / "handed_out.json"
    assert Workspace(folder).exercises == [find_exercise("rope")]
    for text in ("{", '["nothing"]', "7"):
        file.write_text(text)
        assert Workspace(folder).exercises == all_exercises()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lesson", "18"], "--lesson is '18'; expected the number of a lesson, from 1 to 17, or several: 3,4"),
        (["--lesson", "3,x"], "--lesson is 'x'; expected the number of a lesson"),
        (["--lesson", ""], "--lesson is ''"),
        (["--only", "softmax,rop"], "there is no exercise 'rop'; expected a number from 1 to"),
        (["--only", ""], "there is no exercise ''"),
        (["--lesson", "3", "--only", "4"], "not allowed with argument --lesson"),
    ],
)
def test_wrong_choices_are_one_line(call, tmp_path, arguments, message):
    result = call("exercise", "start", tmp_path / "work", *arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert message in result.err
    assert not (tmp_path / "work").exists()


def read_until(terminal, text):
    seen = b""
    while text.encode() not in seen:
        assert select.select([terminal], [], [], 30)[0], seen
        seen += os.read(terminal, 65536)
    return " ".join(seen.decode().split())


def test_hints_while_watching(spawn, tmp_path):
    """For the exercise that comes next, then for the one that was checked last."""
    folder = Workspace.start(tmp_path / "work", [find_exercise("softmax"), find_exercise("rope")]).folder
    terminal, child_side = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), child_side)
    spawn("exercise", "watch", "--dir", folder, **streams, env={"TERM": "dumb"})
    os.close(child_side)
    try:
        assert "Type h, then Enter" in read_until(terminal, "next: 03_softmax.py")
        os.write(terminal, b"h\n")
        assert "03_softmax, hint 1 of 4, the idea:" in read_until(terminal, "overflow.")
        write_body(folder, "rope", "return x")
        assert "Stuck? Type h, then Enter" in read_until(terminal, "next: 03_softmax.py")
        os.write(terminal, b"h\nh\n?\n")
        shown = read_until(terminal, "Type h, then Enter")
        assert "04_rope, hint 1 of 4" in shown and "04_rope, hint 2 of 4" in shown
        assert shown.count("hint 1 of 4") == 1
        os.write(terminal, b"\x04")  # the end of the input: the files are watched all the same
        solve(folder, "rope")
        assert "04_rope: passed" in read_until(terminal, "[1/2]")
    finally:
        os.close(terminal)
    assert Workspace(folder).progress(find_exercise("rope")).hints == 2


def test_q_ends_watching(spawn, tmp_path):
    folder = Workspace.start(tmp_path / "work", [find_exercise("softmax")]).folder
    terminal, child_side = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), child_side)
    process = spawn("exercise", "watch", "--dir", folder, **streams, env={"TERM": "dumb"})
    os.close(child_side)
    try:
        assert "for a hint. q ends." in read_until(terminal, "next: 03_softmax.py")
        os.write(terminal, b"Q\n")
        assert process.wait(timeout=30) == 0
    finally:
        os.close(terminal)


def test_a_process_in_the_background_does_not_read_its_terminal(monkeypatch):
    """The system would stop it."""
    slept = []
    monkeypatch.setattr(watch, "_in_foreground", lambda: False)
    monkeypatch.setattr(watch.time, "sleep", slept.append)
    assert (watch.TypedLines()(0.25), slept) == ([], [0.25])


def test_a_schedule_is_shown_whole(call, tmp_path):
    folder = Workspace.start(tmp_path / "work", [find_exercise("continuous_batch")]).folder
    write_body(folder, "continuous_batch", "return [[n] for n in range(len(arrivals)) for _ in range(lengths[n])]")
    out = call("exercise", "check", 15, "--dir", folder).out
    assert "Your whole result, next to the expected one:" in out
    assert "differs" in out


def test_structures_side_by_side():
    table = whole_rows(([3, 1], np.array([[1, 2]])), ([3, 2], np.array([[1, 2]])))
    assert table == (("[0]", "[3, 1]", "[3, 2]", "differs"), ("[1]", "[[1, 2]]", "[[1, 2]]", ""))
    assert whole_rows({"a": 1.5}, {"a": 1.5, "b": [0.25]}) == (
        ("'a'", "1.5", "1.5", ""), ("'b'", "(missing)", "[0.25]", "differs"),
    )  # fmt: skip
    assert whole_rows(np.array([1, 2]), np.array([1, 3]))[1] == ("[1]", "2", "3", "differs")
    assert whole_rows([Other("x" * 99)], [1]) == (("[0]", f"({'x' * 60})", "1", "differs"),)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (1, 2), ("ab", "cd"), (np.ones(3), np.zeros(3)), (np.array(1), np.array(2)), ([1], 1), (None, [1]),
        ([0] * 13, [1]), ([1], [0] * 13), ([["x" * 130]], [[1]]), ([np.zeros(1000)], [np.ones(1000)]),
        ([[0] * 10**6], [[1]]),
    ],
)  # fmt: skip
def test_what_is_no_small_structure_is_not_shown_whole(result, expected):
    assert whole_rows(result, expected) == ()
