"""The entry point of the command `minillm`. From here on Ctrl-C ends it quietly, also while NumPy is being imported."""

import contextlib
import os
import signal
import sys
import time
from typing import NoReturn

SAID = (2, 130)  # exit codes with which a rank has said why it ends


def main() -> NoReturn:
    """Run the command line and exit."""
    # These two time small products; on a busy machine several BLAS threads would wait for each other.
    if sys.argv[1:2] in (["lesson"], ["claims"]):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    share_processors()
    guard_rank()
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a background job ignores Ctrl-C
    try:
        if heard:
            signal.signal(signal.SIGINT, leave)
        from minillm.cli.main import run

        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = run()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        code = 130
    except ModuleNotFoundError as problem:
        code = say_what_is_missing(problem)
    if heard:
        signal.signal(signal.SIGINT, leave)
    sys.exit(code)


def say_what_is_missing(problem: ModuleNotFoundError) -> int:
    """Say which package is missing and how to install it. Return the exit code: 1 for `minillm doctor`, else 2."""
    name = (problem.name or "").partition(".")[0]
    if name in ("", "minillm", "exercises"):  # a fault of minillm's own
        raise problem
    install = f"{sys.executable} -m pip install -e ."
    rank, size, _ = mpi_place()
    who = f"rank {rank} of {size}: " if size not in ("", "1") else ""
    os.write(2, f"minillm: {who}the package {name} is missing; in minillm's source folder: {install}\n".encode())
    return 1 if sys.argv[1:2] == ["doctor"] else 2


def share_processors() -> None:
    """Give each process that mpiexec started on this machine its part of the processors, unless the user has."""
    ranks = os.environ.get("MPI_LOCALNRANKS", "")
    if ranks.isdecimal() and int(ranks) > 1:
        threads = max(1, (os.cpu_count() or 1) // int(ranks))
        for name in ("OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ.setdefault(name, str(threads))


def guard_rank() -> None:
    """Go on in a child process if mpiexec started several. This process waits; if the child dies, it ends all ranks.

    mpiexec of MPICH hears of a death only after MPI has begun in a process, and then prints a process id. This process
    hears of all of them: not enough memory, a module that is missing on one host. It tells mpiexec on the same line as
    MPI does (PMI-1, https://github.com/pmodels/mpich, src/pmi). macOS does not allow the fork after some imports.
    """
    rank, size, line = mpi_place()
    if sys.platform != "linux" or not line.isdecimal() or size in ("", "1"):
        return
    this, child = os.getpid(), os.fork()
    if not child:
        return end_with(this)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child hears it, too
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        if code not in SAID:
            os.write(2, f"minillm: rank {rank} of {size}: {how_it_ended(code)}\n".encode())
            time.sleep(0.1)  # else mpiexec may end before it has printed the line
        code = code if code > 0 else 128 - code  # as in a shell
        with contextlib.suppress(OSError):
            os.write(int(line), b"cmd=abort exitcode=%d\n" % code)
            time.sleep(5)
    os._exit(code)


def mpi_place() -> tuple[str, str, str]:
    """Return this process's rank, the number of ranks, and the line to mpiexec, as MPICH's sets them; else ""."""
    rank, size, line = (os.environ.get(f"PMI_{name}", "") for name in ("RANK", "SIZE", "FD"))
    return rank, size, line


def how_it_ended(code: int) -> str:
    """Return what an exit code means, as `os.waitstatus_to_exitcode` returns it."""
    if code == -signal.SIGALRM:  # of cli/parallel.py
        return "other ranks have not begun MPI; are minillm and mpi4py installed for all of them?"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def end_with(parent: int) -> None:
    """Let Linux kill this process when its parent dies."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(137)


def leave(*_: object) -> NoReturn:
    """End the process at once, without a traceback.

    During imports and at exit KeyboardInterrupt is no use: a module in C may turn it into an ImportError, and Python
    prints what is raised in a function that runs at exit.
    """
    with contextlib.suppress(OSError):  # stderr may be closed
        os.write(2, b"\n")
    os._exit(130)
