"""The entry point of the command `minillm`. From here on Ctrl-C ends it quietly, also while NumPy is being imported."""

import contextlib
import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit."""
    # These two time small products; on a busy machine several BLAS threads would wait for each other.
    if sys.argv[1:2] in (["lesson"], ["claims"]):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    share_processors()
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
    if heard:
        signal.signal(signal.SIGINT, leave)
    sys.exit(code)


def share_processors() -> None:
    """Give each process that mpiexec started on this machine its part of the processors, unless the user has."""
    ranks = os.environ.get("MPI_LOCALNRANKS", "")
    if ranks.isdecimal() and int(ranks) > 1:
        threads = max(1, (os.cpu_count() or 1) // int(ranks))
        for name in ("OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ.setdefault(name, str(threads))


def leave(*_: object) -> NoReturn:
    """End the process at once, without a traceback.

    During imports and at exit KeyboardInterrupt is no use: a module in C may turn it into an ImportError, and Python
    prints what is raised in a function that runs at exit.
    """
    with contextlib.suppress(OSError):  # stderr may be closed
        os.write(2, b"\n")
    os._exit(130)
