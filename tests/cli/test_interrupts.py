"""Ctrl-C ends every command with 130, no traceback, and the cursor visible."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from interrupts import hear_interrupts, until_it_waits


def interrupted(child):
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    return child.returncode, out, err


def is_quiet(text: bytes) -> bool:
    return b"Traceback" not in text and b"Error" not in text


def test_during_generate(spawn, endless_model_folder):
    child = spawn("generate", "x", "--model", endless_model_folder, "--ignore-eos", "--max-new-tokens", 90_000)
    assert child.stdout.read(1)
    code, out, err = interrupted(child)
    assert (code, err) == (130, b"\n")
    assert b"KV cache" not in out  # it had not ended by itself


WAIT = "import time; print(flush=True); time.sleep(60)"
SLOW_NUMPY = {  # stand in for a slow disk; modules in C catch the interrupt and report an ImportError
    "plain": WAIT,
    "in C": "try:\n    " + WAIT + "\nexcept BaseException: raise ImportError('failed to import') from None",
}


@pytest.mark.parametrize("numpy", SLOW_NUMPY.values(), ids=SLOW_NUMPY)
def test_while_numpy_is_imported(tmp_path, numpy):
    (tmp_path / "numpy.py").write_text(numpy)
    assert interrupted_at_once("from _minillm_command import main; main()", tmp_path) == (130, b"", b"\n")


def test_at_exit(tmp_path):
    """A function that runs at exit takes long."""
    slow = f"import atexit; atexit.register(lambda: exec({WAIT!r}))"
    code, out, err = interrupted_at_once(f"{slow}; from _minillm_command import main; main()", tmp_path)
    assert (code, err) == (130, b"\n") and is_quiet(out)


def interrupted_at_once(program, folder):
    """Run a command by this program, with this folder on the path, and interrupt it at its first empty line."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-c", program, "--version"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, preexec_fn=hear_interrupts, **pipes) as child:
        while child.stdout.readline() != b"\n":
            pass
        return interrupted(child)


def test_during_loading(spawn, tmp_path):
    """The model is not there, and this process holds the lock for fetching it, so loading never ends."""
    lock = tmp_path / "models" / ".lock"
    lock.parent.mkdir()
    lock.write_text("emptied by the process that asks for the lock")
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        child = spawn("generate", "x", "--model", "smollm2", env={"MINILLM_CACHE": str(tmp_path)})
        while lock.stat().st_size and child.poll() is None:
            time.sleep(0.05)
        time.sleep(0.2)
        assert interrupted(child) == (130, b"", b"\n")


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_during_bench_no_engine_is_left(spawn, endless_model_folder):
    """Only the command itself is told to stop; its engine, busy with a long prompt, ends too."""
    child = spawn("bench", "--model", endless_model_folder, "--context", 50_000, "--rounds", 1)
    until = time.monotonic() + 60
    while len(children_of(child.pid)) < 2:  # the machine's limits, and our engine
        assert time.monotonic() < until and child.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    engines = children_of(child.pid)
    assert interrupted(child) == (130, b"", b"\n")
    until = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in engines):  # the tokenizer's process sees that its parent is gone
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_while_chat_waits_for_piped_input(spawn, model_folder, extra):
    child = spawn("chat", "--model", model_folder, "--max-new-tokens", 2, *extra)
    child.stdin.write(b"hello\n")
    child.stdin.flush()
    if extra:
        while fcntl.ioctl(child.stdin, termios.FIONREAD, b"\0" * 4) != b"\0" * 4:  # nothing is printed before the end
            time.sleep(0.05)
    else:
        assert child.stdout.read(1)
    assert interrupted(child) == (130, b"", b"\n") if extra else interrupted(child)[0] == 130


class Terminal:
    """A child's terminal: what is typed, and what has been shown."""

    def __init__(self, spawn, *arguments):
        self.screen, child_side = pty.openpty()
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), child_side)
        self.child = spawn(*arguments, **streams, start_new_session=True)
        os.close(child_side)
        self.shown, self.unread = b"", b""

    def wait_for(self, text: bytes) -> None:
        """Read until this text is shown, after what was waited for before."""
        while text not in self.unread:
            self.read(f"{text} was not shown, but {self.unread[-200:]}")
        self.unread = self.unread.partition(text)[2]

    def wait_for_more(self) -> None:
        """Read until anything is shown after what was waited for before."""
        while not self.unread:
            self.read("nothing was shown")

    def read(self, complaint: str) -> None:
        """Read a piece of what is shown, or fail with a complaint."""
        assert select.select([self.screen], [], [], 30)[0], complaint
        piece = os.read(self.screen, 65536)
        self.shown, self.unread = self.shown + piece, self.unread + piece

    def type(self, line: str) -> None:
        os.write(self.screen, line.encode() + b"\n")

    def interrupt(self) -> None:
        """Interrupt it at its prompt."""
        until_it_waits(self.child.pid)
        self.child.send_signal(signal.SIGINT)


@pytest.fixture
def chat(spawn):
    """A conversation at a terminal."""
    terminals = []

    def start(*arguments):
        terminals.append(Terminal(spawn, "chat", "--model", *arguments))
        terminals[0].wait_for(b"> ")
        return terminals[0]

    yield start
    os.close(terminals[0].screen)


def test_at_the_prompt_of_chat_it_leaves(chat, model_folder):
    terminal = chat(model_folder)
    terminal.interrupt()
    assert terminal.child.wait(60) == 130
    assert is_quiet(terminal.shown)


def test_during_an_answer_it_stops_the_answer_and_the_next_one_leaves(chat, endless_model_folder):
    terminal = chat(endless_model_folder, "--ignore-eos", "--max-new-tokens", "90000")
    for _ in range(2):
        terminal.type("hello")
        terminal.wait_for(b"hello\r\n")
        terminal.wait_for_more()  # the answer has begun
        terminal.child.send_signal(signal.SIGINT)
        terminal.wait_for(b"(stopped; Ctrl-C again leaves)\r\n")
        terminal.wait_for(b"> ")
    terminal.interrupt()
    assert terminal.child.wait(60) == 130
    assert is_quiet(terminal.shown)


def test_a_conversation_goes_on_after_a_question_too_long(chat, model_folder):
    terminal = chat(model_folder, "--max-new-tokens", "1")
    terminal.type("b" * 150)
    terminal.wait_for(b"more than the model's context of 128; begin again with /reset")
    terminal.wait_for(b"> ")
    terminal.type("/exit")
    assert terminal.child.wait(60) == 0
