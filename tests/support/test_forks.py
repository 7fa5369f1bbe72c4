"""A fork while other threads compute: neither side hangs, and both compute the same."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import pytest

from minillm.support.forks import ForkGate

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "fork_while_prefilling.py"


@pytest.mark.parametrize("tokens", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_a_fork_while_another_thread_prefills_does_not_hang(tokens):
    """Short prompts use the threads of the BLAS library, and long ones minillm's own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", str(PROGRAM), "numpy", str(tokens)]
    assert subprocess.run(command, env=environment, timeout=120).returncode == 0


def test_a_fork_waits_for_threads_that_compute_but_not_for_its_own():
    gate, computing, stop, forked = ForkGate(), Event(), Event(), Event()

    def compute():
        with gate.computing():
            computing.set()
            stop.wait()

    def fork():
        with gate.computing():
            pass
        gate.before_fork()
        forked.set()
        gate.after_fork()

    threads = [Thread(target=compute), Thread(target=fork)]
    threads[0].start()
    computing.wait()
    threads[1].start()
    assert not forked.wait(0.05)
    stop.set()
    assert forked.wait(20)
    for thread in threads:
        thread.join()
    with gate.computing():  # this thread forks in the middle of a computation, in a signal handler for example
        gate.before_fork()
        gate.after_fork()
