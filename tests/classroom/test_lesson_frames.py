"""Frames: one per Enter on a terminal, drawn in place of each other; elsewhere those that matter."""

import builtins
import io
import re
import sys
from contextlib import redirect_stdout

import pytest
from bundled import BUNDLED

import minillm
from minillm.classroom.frames import print_frames, step_on, step_through, step_through_run, stepping

FRAMES = ["#..\none", "##.\ntwo\nand more", "###"]


class Screen(io.StringIO):
    """A terminal, as far as frames use one."""

    def isatty(self):
        return True

    def seen(self):
        """What somebody sees in the end: text that was cleared is gone."""
        lines = [""]
        for part in re.split(r"(\x1b\[\d+A\x1b\[J)", self.getvalue()):
            if up := re.match(r"\x1b\[(\d+)A", part):
                assert lines[-1] == "" and len(lines) > int(up[1]), "the cursor is at the start of a line"
                lines = [*lines[: -int(up[1]) - 1], ""]
            else:
                lines = [*lines[:-1], *(lines[-1] + part).split("\n")]
        return "\n".join(lines)


@pytest.fixture
def step(monkeypatch):
    """Step through frames with these lines typed: what is seen on the screen after each, and what is recorded."""

    def step(*typed, frames=FRAMES, term="xterm", columns=80, rows=24):
        def read(prompt):
            sys.stdout.write(prompt)
            seen.append(screen.seen())
            line = next(waiting)
            sys.stdout.write(f"{line}\n")  # as a terminal echoes it
            return line

        waiting, screen, record, seen = iter(typed), Screen(), io.StringIO(), []
        screen.write("before\n")
        monkeypatch.setattr(builtins, "input", read)
        for name, value in (("TERM", term), ("COLUMNS", str(columns)), ("LINES", str(rows))):
            monkeypatch.setenv(name, value)
        with redirect_stdout(record):
            step_on(screen, frames)
        assert list(waiting) == []
        return [*seen, screen.seen()], record.getvalue()

    return step


def prompt(number, enter="next"):
    return f"[frame {number}/3: Enter {enter}, b back, q skip] > "


def test_frames_are_drawn_in_place_of_each_other(step):
    seen, recorded = step("", "", "")
    assert seen == [f"before\n{FRAMES[0]}\n{prompt(1)}", f"before\n{FRAMES[1]}\n{prompt(2)}",
                    f"before\n{FRAMES[2]}\n{prompt(3, 'go on')}", "before\n"]  # fmt: skip
    assert recorded == "###\n"


@pytest.mark.parametrize("back", ["b", " B ", "back", "\x1b[D"])
def test_back_shows_the_frame_before_and_the_first_one_stays(step, back):
    seen, recorded = step("", back, back, "q")
    assert [FRAMES.index(text.removeprefix("before\n").rsplit("\n", 1)[0]) for text in seen[:-1]] == [0, 1, 0, 0]
    assert recorded == "#..\none\n"


@pytest.mark.parametrize("leave", ["q", "quit", "\x1b"])
def test_what_is_left_early_stays_on_the_screen(step, leave):
    assert step("", leave)[1] == "##.\ntwo\nand more\n"


@pytest.mark.parametrize(
    "terminal", [{"term": "dumb"}, {"columns": 7}, {"rows": 2}], ids=["dumb", "narrow", "few lines"]
)
def test_where_lines_cannot_be_cleared_frames_follow_each_other(step, terminal):
    seen, recorded = step("", "", "", frames=[f"{frame}\n1234567" for frame in FRAMES], **terminal)
    assert recorded == "".join(f"{frame}\n1234567\n" for frame in FRAMES)
    assert seen[-1].count("[frame") == 3


def test_a_frame_that_is_higher_than_the_terminal_stays(step):
    seen, recorded = step("", "b", "", "", "", rows=4)
    assert recorded == "##.\ntwo\nand more\n" * 2 + "###\n"
    assert "#.." not in seen[1] and seen[-1].count("[frame 2/3") == 2 and seen[-1].count("[frame") == 2


def test_without_a_reader_the_frames_that_matter_are_printed_in_order(capsys):
    with stepping(print_frames):
        step_through(FRAMES)
        step_through(FRAMES, printed=(1, -2, 0))
    first, second = "2 of 3 frames:\n#..\none\n\n###\n", "2 of 3 frames:\n#..\none\n\n##.\ntwo\nand more\n"
    assert capsys.readouterr().out == first + second


def test_a_file_that_is_run_in_a_pipe_prints_them(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    step_through(FRAMES, printed=[-1])
    assert capsys.readouterr().out == "1 of 3 frames:\n###\n"


def test_the_innermost_stepper_gets_the_frames():
    heard = []
    with stepping(lambda *frames: heard.append("outer")):
        with stepping(lambda *frames: heard.append(frames)):
            step_through(FRAMES, printed=[2, 0])
        step_through(FRAMES)
    assert heard == [(FRAMES, [0, 2]), "outer"]


@pytest.mark.parametrize(("columns", "width"), [("200", 78), ("60", 60), ("20", 40)])
def test_steps_of_a_run_are_frames_as_wide_as_the_terminal(columns, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    with minillm.trace.record() as run:
        minillm.generate(minillm.load(BUNDLED[0]), "The sky", 3)
    heard = []
    with stepping(lambda *frames: heard.append(frames)):
        step_through_run(run.trace, "text", printed=[2, -1])
        step_through_run(run.trace, "text", [0, 2])
    (every, printed), (two, last) = heard
    assert every == minillm.trace.frames(run.trace, "text", [1, 2, 3], width) and printed == [1, 2]
    assert two == minillm.trace.frames(run.trace, "text", [0, 2], width) and last == [1]
    assert {max(map(len, frame.splitlines())) for frame in every} == {width}


def test_an_encoding_without_the_signs_gets_others(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    heard = []
    with stepping(lambda *frames: heard.append(frames)):
        step_through(["▒▒█ 1"])
    assert heard == [(["++# 1"], [0])]


def test_frames_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="there are no frames"):
        step_through([])
    with pytest.raises(IndexError):
        step_through(FRAMES, printed=[3])
