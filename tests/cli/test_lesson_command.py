"""`minillm lesson`: the list, the whole lesson in a pipe, a notebook's misuse, and a session key by key."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import sys
import termios
import time

import pytest
from interrupts import hear_interrupts, until_it_waits

import _minillm_command
from minillm.classroom.player import notebook
from minillm.classroom.player.lessons import Cell, all_lessons, find_lesson
from minillm.classroom.player.player import show_source
from minillm.classroom.player.progress import LessonProgress, save_progress
from minillm.cli.printing import show
from minillm.support.install_hint import install_hint

KEYS = "] > "  # the end of the prompt
FRAME = "q skip] > "  # the end of the prompt below a frame
FIRST, SHORT = find_lesson("1"), find_lesson("3")  # the third takes half the time
QUESTION = next(number for number, cell in enumerate(FIRST.cells) if cell.asks)


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


class Reader:
    """Somebody at a terminal of 80 columns."""

    def __init__(self, spawn, *arguments, **environment):
        self.terminal, side = pty.openpty()
        environment = {"TERM": "xterm", "COLUMNS": "80", **environment}

        def own_terminal():
            hear_interrupts()
            fcntl.ioctl(side, termios.TIOCSCTTY, 0)

        self.child = spawn(
            "lesson", *arguments, stdin=side, stdout=side, stderr=side, env=environment,
            start_new_session=True, preexec_fn=own_terminal,
        )  # fmt: skip
        os.close(side)

    def type(self, keys):
        for key in keys:
            os.write(self.terminal, key.encode())

    def read(self, until):
        """What appears, up to this text."""
        shown, deadline = "", time.monotonic() + 60
        while not shown.endswith(until):
            ready, _, _ = select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"waited for {until!r} after {shown[-400:]!r}"
            shown += os.read(self.terminal, 65536).decode().replace("\r\n", "\n")
        return shown

    def read_past_frames(self, until):
        """What appears, up to this text, with Enter pressed below each frame."""
        while (shown := self.read(until)).endswith(FRAME):
            self.type("\n")
        return shown

    def end(self):
        """What appears until the program ends, and its exit code."""
        shown = b""
        with contextlib.suppress(OSError):  # the terminal is gone with the program
            while select.select([self.terminal], [], [], 60)[0]:
                shown += os.read(self.terminal, 65536)
        os.close(self.terminal)
        return shown.decode().replace("\r\n", "\n"), self.child.wait(60)


def test_a_session_key_by_key(spawn, call):
    reader = Reader(spawn, "1", NO_COLOR="1")
    shown = reader.read(KEYS)
    assert "# What is inference?" in shown and shown.endswith(f"\n\n[1/{len(FIRST.cells)}] > ")
    assert "Enter alone next" in shown
    reader.type("\n")
    shown = reader.read(KEYS)
    assert "numbers in all" in shown and "Enter alone next" not in shown
    reader.type("\n")
    assert "[3/" in reader.read(KEYS)
    reader.type("b\n")
    assert "numbers in all\n\n[2/" in reader.read(KEYS)
    reader.type("\n")
    reader.read(KEYS)
    reader.type("p\n")
    assert "Variables of the lesson: bars, claim" in reader.read(">>> ")
    reader.type("parameters = 7\n")
    reader.read(">>> ")
    reader.type("exit()\n")
    reader.read(KEYS)
    reader.type("z\n")
    assert "Unknown key 'z'. Keys, each" in reader.read(KEYS)
    for _ in range(QUESTION - 2):
        reader.type("\n")
        shown = reader.read((KEYS, "? "))
    assert "Predict: " in shown and "answer=" not in shown
    reader.type("1\n")
    assert "A token for every number?" in reader.read("? ")
    reader.type("\n")
    assert "press Enter again to see the answer." in reader.read("? ")
    reader.type("\n")
    assert "Answer: " in reader.read(KEYS)
    reader.type("r\n")
    reader.read("? ")
    reader.type("\n\n")
    reader.read(KEYS)
    reader.type("c\n")
    assert "answer=" in reader.read(KEYS)
    reader.type("q\n")
    shown, code = reader.end()
    assert ("To resume: minillm lesson 1" in shown, code) == (True, 0)

    first = json.loads(call("lesson", "--json").out)["lessons"][0]
    assert (first["cell"], first["finished"], first["right_at_first"]) == (QUESTION + 1, False, 0)
    reader = Reader(spawn, "1")
    assert f"Resuming at cell {QUESTION + 1}" in reader.read("? ")
    until_it_waits(reader.child.pid)
    reader.type("\x03")
    shown, code = reader.end()
    assert code == 130 and "Traceback" not in shown
    assert f"at {QUESTION + 1} of {len(FIRST.cells)}" in call("lesson").out


def test_the_last_cell_finishes_a_lesson(spawn, call):
    reader = Reader(spawn, "1", "--restart")
    for number in range(len(FIRST.cells)):
        shown = reader.read_past_frames((KEYS, "? "))
        if FIRST.cells[number].asks:
            assert shown.endswith("? ")
            reader.type("\n\n")
            reader.read(KEYS)
        reader.type("\n")
    shown, code = reader.end()
    assert ("Lesson 1 is finished." in shown, code) == (True, 0)
    said = " ".join(shown.split())
    assert "What the questions have shown: - A model reads tokens, not letters or words" in said
    assert "Write it yourself: 1 naive_decode. `minillm exercise start my-exercises` makes" in said
    assert "There, run `minillm exercise check 1`." in said
    assert "done, 0 of 3 right first time" in call("lesson").out
    for text in (shown, call("lesson").out):
        assert text.splitlines()[-1] == "Go on with: minillm lesson 2"
    assert json.loads(call("lesson", "--json").out)["next"] == 2


def test_enter_steps_through_frames_and_a_changed_variable_changes_them(spawn):
    number = next(number for number, cell in enumerate(SHORT.cells) if "step_through(" in cell.source)
    save_progress(SHORT.topic, LessonProgress(number, False))
    reader = Reader(spawn, "3", NO_COLOR="1")
    shown = reader.read(FRAME)
    assert "the query of token 0, 'Copy'" in shown and "\x1b[J" not in shown
    for keys, token in (("\n", 1), ("\n", 2), ("b\n", 1)):
        reader.type(keys)
        assert re.search(rf"\x1b\[\d+A\x1b\[Jthe query of token {token},", reader.read(FRAME))
    reader.type("q\n")
    assert "the query of token 1, " in reader.read(KEYS)
    reader.type("b\n")
    reader.read(KEYS)
    reader.type("\n")  # the output of the cell, as it was left
    shown = reader.read(KEYS)
    assert shown.count("the query of token 1, ':'") == 1 and not shown.endswith(FRAME)
    reader.type("p\n")
    reader.read(">>> ")
    reader.type("words = ['egg'] * n\n")
    reader.read(">>> ")
    reader.type("exit()\n")
    reader.read(KEYS)
    reader.type("r\n")
    assert "the query of token 0, 'egg'" in reader.read(FRAME)
    os.close(reader.terminal)
    assert reader.child.wait(60) != 1


@pytest.mark.slow
@pytest.mark.parametrize("lesson", all_lessons()[::4], ids=lambda lesson: lesson.name)  # all take 2 minutes
def test_enter_alone_leads_through_a_lesson(lesson, spawn):
    reader, frames, cell = Reader(spawn, str(lesson.number), LINES="50", OPENBLAS_NUM_THREADS="1"), [], ""
    while cell != f"[{len(lesson.cells)}/{len(lesson.cells)}{KEYS}":
        shown = reader.read((KEYS, "? "))
        cell = shown.splitlines()[-1]
        frames += re.findall(r"\[frame (\d+)/(\d+): Enter", cell)
        assert "failed: " not in shown
        reader.type("\n")
    shown, code = reader.end()
    assert (f"Lesson {lesson.number} is finished." in shown, code) == (True, 0)
    expected = [(str(n), count) for first, count in frames if first == "1" for n in range(1, int(count) + 1)]
    assert frames == expected != []


def test_the_list_says_what_to_do_next(call):
    def said(**states):
        for topic, (cell, finished) in states.items():
            save_progress(topic, LessonProgress(cell, finished))
        return call("lesson").out.splitlines()[-1]

    topics = [lesson.topic for lesson in all_lessons()]
    assert said() == "Begin with: minillm lesson 1"
    assert said(**{topics[0]: (0, False)}) == "Begin with: minillm lesson 1"
    assert said(**{topics[0]: (1, False)}) == "Go on with: minillm lesson 1"
    assert said(**{topics[0]: (0, True), topics[2]: (0, True)}) == "Go on with: minillm lesson 2"
    assert said(**{topics[4]: (3, False)}) == "Go on with: minillm lesson 5"  # begun, so before 2
    assert said(**{topics[4]: (3, True)}) == "Go on with: minillm lesson 2"  # read again
    for topic in topics:
        save_progress(topic, LessonProgress(0, True))
    assert call("lesson").out.count("All lessons are finished.") == 1


def test_a_pipe_gets_all_of_it_without_escape_sequences(finish):
    result = finish("lesson", "3")
    assert (result.code, result.err) == (0, "")
    assert "\x1b" not in result.out and "skip] >" not in result.out
    assert "\n2 of 8 frames:\nthe query of token 2, " in result.out
    for cell in SHORT.cells:
        assert cell.source.splitlines()[0] in result.out
    assert max(map(len, result.out.splitlines())) <= 80
    assert result.out == finish("lesson", "attention", "--no-input").out


def test_on_a_narrow_terminal_paragraphs_are_folded_once_and_code_keeps_its_indentation(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lists = "- a first point that is long enough to fold\n- a second"
    show_source(Cell("prose", "# Title\n\n" + "word " * 14 + "word\nof the same.\n\n" + lists, 1), show)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    words = ["word " * 7 + "word", "word " * 7 + "of", "the same."]
    assert lines == ["# Title", "", *words, "", "- a first point that is long enough to", "fold", "- a second"]
    show_source(Cell("code", "for n in x:\n    call(n, 'some text that is', longer)\n", 1), show)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == ["  for n in x:", "      call(n, 'some text that is',", "      longer)"]


@pytest.mark.parametrize("arguments", [["lesson", "--json"], ["claims", "kv-token-7b"]])
@pytest.mark.parametrize(("said", "used"), [(None, "1"), ("2", "2")])
def test_what_is_timed_runs_on_one_thread_unless_told_otherwise(monkeypatch, said, used, arguments):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", said or "")  # so that it is put back, also where it was not set
    if said is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    monkeypatch.setattr(sys, "argv", ["minillm", *arguments])
    with pytest.raises(SystemExit):
        _minillm_command.main()
    assert os.environ["OPENBLAS_NUM_THREADS"] == used


def test_a_reader_that_leaves_early_is_no_error(spawn):
    child = spawn("lesson", "3")
    child.stdout.readline()
    child.stdout.close()
    assert (child.wait(60), child.stderr.read()) == (0, b"")


def test_a_full_disk_is_one_line(finish):
    with open("/dev/full", "wb") as full:
        result = finish("lesson", "3", stdout=full)
    assert (result.code, result.err) == (2, "minillm: No space left on device\n")


def test_no_colour_is_no_colour(on_80_columns):
    assert not re.search(r"\x1b\[[\d;]*3\d", on_80_columns("3", "--no-input", NO_COLOR="1"))
    assert re.search(r"\x1b\[[\d;]*m", on_80_columns("3", "--no-input"))


@pytest.fixture
def on_80_columns(spawn):
    def run(*arguments, **environment):
        shown, code = Reader(spawn, *arguments, **environment).end()
        assert code == 0
        return shown

    return run


def test_json_holds_every_cell(finish):
    lesson = json.loads(finish("lesson", 1, "--json").out)
    assert [cell["kind"] for cell in lesson["cells"]] == [cell.kind for cell in FIRST.cells]
    assert all(cell["output"] is None for cell in lesson["cells"] if cell["kind"] == "prose")
    assert any("Answer: " in (cell["output"] or "") for cell in lesson["cells"])


def test_a_teacher_gets_the_questions_with_their_answers(call):
    shown = call("lesson", 3, "--answers").out
    asked = sum(cell.asks for cell in SHORT.cells)
    assert [shown.count(word) for word in ("Predict: ", "Answer", "This shows: ")] == [asked] * 3
    assert "import numpy" not in shown and shown.startswith("Lesson 3: Attention\n\nPredict: ")
    lesson = json.loads(call("lesson", 3, "--answers", "--json").out)
    assert [question["answer"] for question in lesson["questions"]][:2] == [3, 36] and lesson["number"] == 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["99"], "there is no lesson '99'; expected one of 1 what_is_inference"),
        (["--no-input"], "no lesson is given"),
        (["--answers"], "no lesson is given"),
        (["--notebook", "a.ipynb"], "no lesson is given"),
        (["1", "--notebook", "a.txt"], "expected a name that ends in .ipynb"),
        (["1", "--notebook", "/nowhere/a.ipynb"], "minillm: there is no folder /nowhere\n"),
    ],
)
def test_misuse_is_one_line(call, arguments, complaint):
    result = call("lesson", *arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert complaint in result.err


def test_a_notebook_that_cannot_be_written_is_told_by_its_own_name(call):
    pytest.importorskip("jupytext")
    result = call("lesson", 1, "--notebook", "/proc/a.ipynb")
    assert (result.code, result.err) == (2, "minillm: /proc/a.ipynb: No such file or directory\n")


def test_a_notebook_is_never_written_over(call, tmp_path):
    notes = tmp_path / "notes.ipynb"
    notes.write_text("mine")
    result = call("lesson", 1, "--notebook", notes)
    assert (result.code, notes.read_text()) == (2, "mine")
    assert "perhaps with your notes" in result.err


def test_a_notebook_that_is_written_is_told_in_json_if_asked_for(call, tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "notebook_text", lambda lesson: "{}")
    record = json.loads(call("lesson", 1, "--notebook", tmp_path / "a.ipynb", "--json").out)
    assert record == {"number": 1, "name": FIRST.name, "notebook": str(tmp_path / "a.ipynb")}
    assert "wrote" in call("lesson", 1, "--notebook", tmp_path / "b.ipynb").out


def test_without_jupytext_a_notebook_is_refused_in_one_line(call, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jupytext", None)
    result = call("lesson", 1, "--notebook", tmp_path / "a.ipynb")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert install_hint("notebook") in result.err
    assert not list(tmp_path.glob("*.ipynb"))
