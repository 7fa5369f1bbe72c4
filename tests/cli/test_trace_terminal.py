"""`minillm trace --terminal`: a run is stepped through with keys, and printed where there are none."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

import pytest
from interrupts import hear_interrupts

from minillm.trace import frames, load
from minillm.trace.terminal.replay import Replay

TOP = "\x1b[H"


@pytest.fixture(scope="module")
def run_file(tmp_path_factory):
    """The trace of a small engine's run."""
    import minillm

    path = tmp_path_factory.mktemp("trace") / "run.jsonl"
    model = minillm.load("story")
    with minillm.trace.record(path):
        engine = minillm.Engine(model, block_size=4, num_blocks=8)
        for prompt in ("Once upon a time", "The sky is"):
            engine.submit(prompt, 6)
        engine.run()
    return path


class Watcher:
    """Somebody who replays a run at a terminal, and sees the screens that are drawn."""

    def __init__(self, spawn, file, size=(80, 24), **environment):
        self.terminal, side = pty.openpty()
        self.resize(*size)
        self.shown = ""

        def own_terminal():
            hear_interrupts()
            fcntl.ioctl(side, termios.TIOCSCTTY, 0)

        self.child = spawn(
            "trace", "--read", file, "--terminal", stdin=side, stdout=side, stderr=side, start_new_session=True,
            env={"TERM": "xterm", "COLUMNS": "", "NO_COLOR": "1", **environment}, preexec_fn=own_terminal,
        )  # fmt: skip
        os.close(side)

    def resize(self, columns, lines):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys, until):
        """The screen that is drawn after these keys: its lines. It is awaited until it has this text."""
        os.write(self.terminal, keys.encode())
        end = time.monotonic() + 60
        while True:
            screens = self.shown.split(TOP)
            if len(screens) > 1 and re.search(until, plain(screens[-1])):
                return plain(screens[-1]).split("\n")
            ready, _, _ = select.select([self.terminal], [], [], max(0, end - time.monotonic()))
            assert ready, f"waited for {until!r} after {self.shown[-2000:]!r}"
            self.shown += os.read(self.terminal, 65536).decode()

    def end(self):
        """All that was written until the program ended, and its exit code."""
        try:
            while select.select([self.terminal], [], [], 60)[0]:
                self.shown += os.read(self.terminal, 65536).decode()
        except OSError:
            pass  # the terminal is gone with the program
        os.close(self.terminal)
        return self.shown, self.child.wait(60)


def plain(text):
    return re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", text).replace("\r", "")


def test_a_run_is_stepped_through_forward_and_back(spawn, run_file):
    watcher = Watcher(spawn, run_file)
    trace = load(run_file)
    last = len(trace.states.steps) - 1
    replay = Replay(trace)

    def expected(key):
        replay.press(key)
        return [line.plain.rstrip() for line in replay.screen(80, 24)]

    bottom = rf"Step {{}} of {last}:(.|\n)*q quit$"
    assert [line.rstrip() for line in watcher.press("", bottom.format(0))] == expected("")
    for keys, key, step in (("\x1b[C", "right", 1), ("\n", "enter", 2), ("\x1b[D", "left", 1), ("\x1b[F", "end", last)):
        assert [line.rstrip() for line in watcher.press(keys, bottom.format(step))] == expected(key)
    assert "t[text]" in watcher.press("t", r"t\[text\](.|\n)*q quit$")[0]
    assert "0 A" in "\n".join(watcher.press("\x1b[Hc\x1b[C", rf"Step 1 of {last}: the cache(.|\n)*q quit$"))
    os.write(watcher.terminal, b"q")
    shown, code = watcher.end()
    assert code == 0 and shown.startswith("\x1b[?1049h\x1b[?25l") and shown.endswith("\x1b[?25h\x1b[?1049l")
    assert not re.search(r"\x1b\[[\d;]*3\dm", shown)  # NO_COLOR: no colours


def test_a_new_size_is_drawn_at_once(spawn, run_file):
    watcher = Watcher(spawn, run_file, (100, 30))
    assert len(watcher.press("", "Step 0 of(.|\n)*q quit$")) == 30
    watcher.resize(50, 14)
    screen = watcher.press("", r"\b ─{5,30}\n(.|\n)*q quit$")
    assert len(screen) == 14 and max(map(len, screen)) <= 50
    os.write(watcher.terminal, b"\x04")
    assert watcher.end()[1] == 0


def test_ctrl_c_gives_the_terminal_back(spawn, run_file):
    watcher = Watcher(spawn, run_file)
    watcher.press("", "Step 0 of(.|\n)*q quit$")
    os.write(watcher.terminal, b"\x03")
    shown, code = watcher.end()
    assert code == 130 and "\x1b[?25h\x1b[?1049l" in shown and "Traceback" not in shown


def test_colours_are_an_addition(spawn, run_file):
    watcher = Watcher(spawn, run_file, NO_COLOR="", COLORTERM="")
    watcher.press("", "Step 0 of(.|\n)*q quit$")
    first = watcher.press("\x1b[C", "Step 1 of(.|\n)*q quit$")
    os.write(watcher.terminal, b"q")
    assert re.search(r"\x1b\[[\d;]*3\dm", watcher.end()[0])
    replay = Replay(load(run_file))
    replay.press("right")
    assert [line.rstrip() for line in first] == [line.plain.rstrip() for line in replay.screen(80, 24)]


def test_a_pipe_gets_the_frames_that_matter(finish, run_file):
    result = finish("trace", "--read", run_file, "--terminal", "--view", "cache", env={"COLUMNS": "70"})
    assert (result.code, result.err) == (0, "")
    assert result.out == "\n\n".join(frames(load(run_file), "cache", width=70)) + "\n"


def test_a_dumb_terminal_gets_the_frames_that_matter(on_terminal, run_file):
    shown = on_terminal("trace", "--read", str(run_file), "--terminal", TERM="dumb", COLUMNS="60")
    assert shown.replace("\r", "") == "\n\n".join(frames(load(run_file), "batch", width=60)) + "\n"


def test_sentences_are_folded_on_a_terminal_and_not_in_a_pipe(on_terminal, finish, run_file):
    shown = on_terminal("trace", "--read", str(run_file), TERM="dumb", COLUMNS="50").replace("\r", "").splitlines()
    piped = finish("trace", "--read", run_file, env={"COLUMNS": "50"}).out.splitlines()
    assert max(map(len, shown)) <= 50 < max(map(len, piped)) and len(piped) == len(load(run_file).states.steps)
    assert " ".join(" ".join(shown).split()) == " ".join(" ".join(piped).split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--view", "cache"), "--view is an option of --terminal"),
        (("--terminal", "--json"), "--terminal and --json both print"),
        (("--terminal", "--view", "cash"), "expected one of text, pass, cache"),
    ],
)
def test_a_mistake_is_one_line(call, run_file, arguments, words):
    result = call("trace", "--read", run_file, *arguments)
    assert result.code == 2 and words in result.err and result.err.count("\n") == 1
