"""A fork while other threads compute: neither side hangs, and both compute the same."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import pytest

import minillm
from minillm.backends.plain import Plain
from minillm.support.forks import GATE, ForkGate

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "fork_while_prefilling.py"


@pytest.mark.parametrize("tokens", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_a_fork_while_another_thread_prefills_does_not_hang(tokens):
    """Short prompts use the threads of the BLAS library, and long ones minillm's own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", str(PROGRAM), "numpy", str(tokens)]
    assert subprocess.run(command, env=environment, timeout=120).returncode == 0


@pytest.mark.compiled
@pytest.mark.slow
def test_a_fork_while_another_thread_loads_does_not_hang():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "fork_while_loading.py")]
    assert subprocess.run(command, env=environment, timeout=250).returncode == 0


def forking(gate, forked):
    """A thread that does what a fork does with the gate, and tells when the fork has happened."""

    def fork():
        gate.before_fork()
        forked.set()
        gate.after_fork()

    thread = Thread(target=fork)
    thread.start()
    return thread


def test_a_fork_waits_for_a_thread_that_loads():
    forked, threads = Event(), []

    class Slow(Plain):
        def check_config(self, config):
            threads.append(forking(GATE, forked))
            assert not forked.wait(0.05)

    minillm.load("story-draft", Slow())
    assert forked.wait(20)
    threads[0].join()


def test_a_fork_waits_for_the_outermost_block_and_an_inner_one_does_not_wait_for_the_fork():
    gate, forked = ForkGate(), Event()
    with gate.computing():
        with gate.computing():
            pass
        thread = forking(gate, forked)
        assert not forked.wait(0.05)
        with gate.computing():
            pass
        assert not forked.wait(0.05)
    assert forked.wait(20)
    thread.join()


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
