"""A saved tiny model, and the command line called as a user calls it."""

import os
import pty
import subprocess
import sys
from collections import namedtuple

import pytest
from interrupts import hear_interrupts
from model_folder import save_model_folder

from minillm.cli.main import run

Result = namedtuple("Result", "code out err")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    return str(save_model_folder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="session")
def raw_model_folder(tmp_path_factory):
    """The same model without a chat template."""
    return str(save_model_folder(tmp_path_factory.mktemp("raw"), chat_template=None))


@pytest.fixture(scope="session")
def endless_model_folder(tmp_path_factory):
    """The same model with a context so long that filling it takes a minute."""
    return str(save_model_folder(tmp_path_factory.mktemp("endless"), context=100_000))


@pytest.fixture
def call(capsys):
    """Run a command in this process: its exit code, and what it wrote."""

    def call(*arguments) -> Result:
        return Result(run([str(argument) for argument in arguments]), *capsys.readouterr())

    return call


@pytest.fixture
def spawn():
    """Start `python -m minillm` with pipes; a child that still runs at the end of the test is killed."""
    children = []

    def start(*arguments, **options):
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "", **options.pop("env", {})}
        command = [sys.executable, "-m", "minillm", *(str(argument) for argument in arguments)]
        defaults = {**streams, "env": environment, "preexec_fn": hear_interrupts}
        child = subprocess.Popen(command, **{**defaults, **options})
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                stream.close()


@pytest.fixture
def finish(spawn):
    """Run `python -m minillm` to its end."""

    def run(*arguments, input=b"", **options) -> Result:
        child = spawn(*arguments, **options)
        out, err = child.communicate(input, timeout=60)
        return Result(child.returncode, (out or b"").decode(), (err or b"").decode())

    return run


def read_all(terminal):
    """Everything that was written to the other end of this terminal."""
    pieces = []
    try:
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    except OSError:  # how Linux tells that the other end is closed
        pass
    return b"".join(pieces).decode()


@pytest.fixture
def on_terminal(spawn):
    """What a command writes to a terminal of this kind."""

    def run(*arguments, typed="", **environment):
        terminal, child_side = pty.openpty()
        spawn(*arguments, stdin=child_side, stdout=child_side, stderr=child_side, env=environment)
        os.close(child_side)
        os.write(terminal, typed.encode())
        try:
            return read_all(terminal).replace("\r\n", "\n")
        finally:
            os.close(terminal)

    return run
