"""The player's own lines: what it says about its keys, and that each line is as wide as the terminal."""

import builtins

import pytest

from minillm.classroom.player.lessons import Lesson, parse_cells
from minillm.classroom.player.player import Player
from minillm.classroom.player.progress import LessonProgress

TEXT = f"""# %%
from minillm.classroom.questions import predict
{", ".join(f"open_checkpoint_{n}" for n in range(9))} = range(9)
# %%
raise ValueError("{"a word " * 20}")
# %%
predict("{"How many ? " * 9}", answer=12, mistakes={{3: "{"No, not 3. " * 9}"}}, why="{"Because. " * 20}",
    shows="{"It is 12. " * 9}")
# %%
"""


@pytest.fixture
def play(monkeypatch, tmp_path, capsys):
    """Play a lesson with these lines typed: what is shown, with `> ` and `? ` for what the reader is asked."""

    def play(*typed, cell=0):
        def read(prompt=""):
            print(prompt)
            line = next(waiting)
            if isinstance(line, BaseException):
                raise line
            return line

        waiting = iter(typed)
        monkeypatch.setattr(builtins, "input", read)
        lesson = Lesson(tmp_path / "01_eggs" / "lesson.py", parse_cells(TEXT, "lesson.py"))
        Player(lesson, LessonProgress(cell), lambda: None, lambda *_: None).play()
        assert list(waiting) == []
        return capsys.readouterr()

    return play


@pytest.mark.parametrize("columns", [40, 80])
def test_each_line_is_as_wide_as_the_terminal(play, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    out, _ = play("unknown key of the reader", "p", "exit()", "", "", "nonsense", "3", "", "", "q")
    lines = out.splitlines()
    assert max(map(len, lines)) <= min(columns, 78)
    words = " ".join(out.split())
    for text in ("Unknown key 'unknown key of the r'. Keys, each", "the lesson: open_checkpoint_0, open_checkpoint_1",
                 "This cell failed: ValueError: a word a word", "r runs it again; p opens", "No, not 3. Try again",
                 "'nonsense' cannot be read.", "Answer: 12 Because. Because."):  # fmt: skip
        assert text in words
    resumed = play("", "", "", "", cell=2)
    assert max(map(len, resumed.out.splitlines())) <= min(columns, 78)
    assert "Resuming at cell 3;" in resumed.out
    assert "Cell 2 failed: ValueError: a word a word" in " ".join(resumed.out.split())


def test_the_keys_are_said_once_and_for_an_unknown_key(play):
    out = play("z", "", "b", "q").out
    assert out.count("Enter alone next") == 2
    assert "[1/4] > \nUnknown key 'z'." in out


def test_the_end_says_what_the_questions_have_shown_also_those_that_were_answered_before(play):
    for typed, cell in ((["", "", "12", "", ""], 0), ([""], 3)):
        end = play(*typed, cell=cell).out.split("What the questions have shown:\n")[1]
        assert end.startswith("- It is 12. It is 12.") and end.splitlines()[1].startswith("  12.")


def test_the_end_of_input_leaves_at_every_prompt(play):
    for typed in ([EOFError()], ["", "", EOFError()], ["", "", "3", EOFError()], ["", "", "", EOFError()]):
        assert play(*typed).out.endswith("\nTo resume: minillm lesson 1\n")


def test_an_interrupt_leaves_the_player(play):
    for typed in ([KeyboardInterrupt()], ["", "", KeyboardInterrupt()]):
        with pytest.raises(KeyboardInterrupt):
            play(*typed)
