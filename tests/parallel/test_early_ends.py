"""A rank of the command that ends before MPI has begun, or is killed, ends all: one line, exactly one exit code."""

import subprocess
import sys
import time

import pytest
from mpiexec import MPIEXEC, environment

MAIN = "\nfrom _minillm_command import main\nmain()"
OPTIONS = ["generate", "x", "--tensor-parallel"]
OTHERS = ["-c", MAIN, *OPTIONS]
IMPATIENT = ["-c", f"import minillm.cli.parallel as parallel; parallel.BEGIN_S = 1{MAIN}", *OPTIONS]
TELL_TIME = "import sys, time; print(time.time(), flush=True)"
FAIL_AFTER_BEGIN = """
import os, signal, time
import minillm.cli.parallel as parallel
begin = parallel.begin_mpi

def begin_and_fail():
    begin()
    os.write(1, f"{time.time()}\\n".encode())
    FAULT

parallel.begin_mpi = begin_and_fail
"""


def without(module):
    return f"{TELL_TIME}; sys.modules[{module!r}] = None{MAIN}"


def later(fault):
    return FAIL_AFTER_BEGIN.replace("FAULT", fault) + MAIN


def run_three(rank_1, others=OTHERS):
    """What ranks 0 and 2, and rank 1, do together: the seconds since what rank 1 printed, the exit code, stderr."""
    parts = [["-n", "1", sys.executable, *arguments] for arguments in (others, rank_1, others)]
    command = [str(MPIEXEC), *parts[0], ":", *parts[1], ":", *parts[2]]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=60, stdin=subprocess.DEVNULL
    )
    return time.time() - float(done.stdout), done.returncode, done.stderr  # mpiexec has printed nothing


@pytest.mark.parametrize(
    ("rank_1", "code", "says"),
    [
        ([TELL_TIME + MAIN, *OPTIONS, "--nosuch"], 2, "unrecognized arguments: --nosuch (see minillm generate --help)"),
        ([without("mpi4py"), *OPTIONS], 2, "several processes need mpi4py and MPICH: pip install"),
        ([without("numpy"), *OPTIONS], 2, "the package numpy is missing"),
        ([without("minillm.cli.main"), *OPTIONS], 1, "exit code 1"),
        ([TELL_TIME + MAIN, "--version"], 2, "has ended, but other ranks have not"),
        ([later("os.kill(os.getpid(), signal.SIGKILL)"), *OPTIONS], 137, "killed by SIGKILL"),
        ([later("os.kill(os.getpid(), signal.SIGSEGV)"), *OPTIONS], 139, "killed by SIGSEGV"),
        ([later("os.kill(os.getpid(), signal.SIGINT)"), *OPTIONS], 130, "interrupted"),
        ([later("raise TypeError('a bug')"), *OPTIONS], 2, "TypeError: a bug"),
    ],
)
def test_a_rank_that_ends_early_ends_all_with_one_line_that_names_it(rank_1, code, says):
    seconds, returned, err = run_three(["-c", *rank_1])
    assert seconds < (5 if "begin_and_fail" in rank_1[0] else 15)  # the others have told the time before their imports
    assert (returned, err.splitlines()[-1].startswith(f"minillm: rank 1 of 3: {says}")) == (code, True), err
    assert says == "exit code 1" or err.count("\n") == 1  # after minillm's own fault, Python prints where it is


def test_a_program_that_does_not_begin_mpi_is_not_waited_for():
    """Nobody can know why: minillm may be missing on one host."""
    seconds, code, err = run_three(["-c", "import time; print(time.time())"], IMPATIENT)
    assert (code, seconds < 15) == (142, True)
    assert err.startswith("minillm: rank 0 of 3: other ranks have not begun MPI; are minillm and mpi4py installed")
