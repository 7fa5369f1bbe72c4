"""Ranks: the processes that `mpiexec` started, and what they send to each other. Rank 0 reads, prints and decides.

MPI carries the messages (extra `mpi`: mpi4py and MPICH). Each call here is *collective* unless it says otherwise: all
ranks make it, in the same order. While a rank waits, it yields the processor and hears Ctrl-C: MPI's own waiting would
do neither.

    all_reduce, all_gather     as in `messages.py`
    broadcast                  rank 0: "go"   ->   all: "go"

`sent` counts what the ring of `thread_ranks.py` would send, whichever algorithm MPI takes, so that
`estimate/sharding.py` can be compared with it.

A rank that fails ends all others: `fail` prints one line that names it, and asks mpiexec to end every process. If all
ranks fail (no such model, Ctrl-C), rank 0 speaks for all. If a process is killed, mpiexec sees it, and ends the others;
in the command `minillm`, `_minillm_command.py` names it.
"""

import atexit
import os
import pickle
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, NoReturn

import numpy as np

from minillm.arrays import Array
from minillm.parallel.messages import Traffic
from minillm.support.install_hint import install_hint
from minillm.support.printable import one_line
from minillm.support.wording import around_difference

BUSY_TURNS = 2000  # times a waiting rank asks again at once: about a millisecond, longer than a layer's wait
PAUSE_S = 0.0002  # between later questions
FAREWELL_S = 3.0  # a rank that ends waits this long for the others to end
ALIKE_S = 2.0  # a rank that fails waits this long for the others to fail too
TURN_S, LAST_TURN_S = 0.3, 2.0  # if only some fail, each lets the ranks before it speak first, and not longer
PRINTS_S = 0.1  # mpiexec may end all before it has printed a line that came just before


class Ranks:
    """The processes of one `mpiexec`, as one of them sees the others.

    Attributes:
        rank: the number of this process, from 0.
        size: the number of processes.
        sent: what this rank has sent, by kind: "all_reduce", "all_gather", "send" and "broadcast".
    """

    def __init__(self, comm: Any) -> None:
        """Use an mpi4py communicator, such as `MPI.COMM_WORLD`.

        Raises:
            ValueError: it is something else.
            OSError: mpi4py is not installed.
        """
        mpi = _mpi()
        if not isinstance(comm, mpi.Intracomm):
            raise ValueError(f"comm is of type {type(comm).__name__}; expected a communicator of mpi4py")
        self._mpi, self._comm = mpi, comm.Dup()  # messages of others never match ours
        self._end, self._failing = comm.Dup(), comm.Dup()  # nor do those of barriers at an end
        self._all_fail: bool | None = None  # not known before this rank fails
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.sent = {kind: Traffic() for kind in ("all_reduce", "all_gather", "send", "broadcast")}
        if self.size > 1:
            _end_together(self)

    def __repr__(self) -> str:
        return f"Ranks(rank {self.rank} of {self.size})"

    def all_reduce(self, x: Array, operation: str = "sum") -> Array:
        """Return the sum (or "max") of every rank's array, element by element, the same on all ranks."""
        total = np.array(x, order="C")
        if self.size > 1:
            op = {"sum": self._mpi.SUM, "max": self._mpi.MAX}[operation]
            self._wait(self._comm.Iallreduce(self._mpi.IN_PLACE, total, op))
            self.sent["all_reduce"].add(2 * (self.size - 1), 2 * (self.size - 1) / self.size * total.nbytes)
        return total

    def all_gather(self, x: Array, lengths: Sequence[int]) -> list[Array]:
        """Return every rank's array in the order of the ranks. They may differ in the length of their first axis.

        Args:
            x: this rank's array.
            lengths: of each rank's first axis.
        """
        if self.size == 1:
            return [x]
        x = np.ascontiguousarray(x)
        joined = np.empty((sum(lengths), *x.shape[1:]), x.dtype)
        row = joined[:1].size
        counts = [length * row for length in lengths]
        self._wait(self._comm.Iallgatherv(x, [joined, counts]))
        self.sent["all_gather"].add(self.size - 1, (self.size - 1) / self.size * joined.nbytes)
        return np.split(joined, np.cumsum(lengths)[:-1])

    def broadcast(self, value: Any = None) -> Any:
        """Return the value that rank 0 passes: any Python value, arrays included. Other ranks pass nothing."""
        if self.size == 1:
            return value
        data = pickle.dumps(value, protocol=5) if self.rank == 0 else b""
        length = np.array([len(data)], np.int64)
        self._wait(self._comm.Ibcast(length))
        buffer = bytearray(data) if self.rank == 0 else bytearray(int(length[0]))
        self._wait(self._comm.Ibcast(buffer))
        self.sent["broadcast"].add(1, len(buffer))
        return value if self.rank == 0 else pickle.loads(buffer)

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's Python value in the order of the ranks, on all ranks."""
        if self.size == 1:
            return [value]
        data = np.frombuffer(pickle.dumps(value, protocol=5), np.uint8)
        lengths = np.zeros(self.size, np.int64)
        lengths[self.rank] = len(data)
        self._wait(self._comm.Iallreduce(self._mpi.IN_PLACE, lengths))
        joined = np.empty(int(lengths.sum()), np.uint8)
        self._wait(self._comm.Iallgatherv(data, [joined, lengths.tolist()]))
        return [pickle.loads(part.tobytes()) for part in np.split(joined, np.cumsum(lengths)[:-1])]

    def send(self, x: Array, to: int, tag: int = 0) -> None:
        """Send an array to one rank, which calls `receive`. Not collective. It returns when `x` may be changed."""
        x = np.ascontiguousarray(x)
        self._wait(self._comm.Isend(x, to, tag))
        self.sent["send"].add(1, x.nbytes)

    def receive(self, source: int, shape: Sequence[int], dtype: Any, tag: int = 0) -> Array:
        """Return the array that rank `source` sends to this rank. Not collective."""
        x = np.empty(tuple(shape), dtype)
        self._wait(self._comm.Irecv(x, source, tag))
        return x

    def send_value(self, value: Any, to: int, tag: int = 0) -> None:
        """Send a Python value to one rank, which calls `receive_value`. Not collective."""
        self._wait(self._comm.isend(value, to, tag))

    def receive_value(self, source: int | None = None, tag: int = 0) -> tuple[Any, int]:
        """Return a Python value that a rank sent to this rank, and that rank. None takes from any rank."""
        status = self._mpi.Status()
        anyone = self._mpi.ANY_SOURCE if source is None else source
        for turn in count():
            message = self._comm.improbe(anyone, tag, status)
            if message is not None:
                return message.recv(), status.Get_source()
            _pause(turn)
        raise AssertionError

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self._wait(self._comm.Ibarrier())

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Check that all ranks have the same facts, such as the version of minillm and the arguments.

        Raises:
            ValueError: they differ; on all ranks, with the same message.
        """
        told = self.gather({name: repr(value) for name, value in facts.items()})
        for rank, other in enumerate(told):
            for name in (*told[0], *other):
                mine, its = told[0].get(name, "missing"), other.get(name, "missing")
                if mine != its:
                    mine, its = around_difference(mine, its)
                    raise ValueError(f"the ranks disagree: {name} is {mine} on rank 0, {its} on rank {rank}")

    def fail(self, problem: str | None, code: int = 2) -> NoReturn:
        """Print one line (none for None), which names this rank unless all fail, and end all processes.

        Not collective.
        """
        if self._may_speak() and problem is not None:
            where = "" if self._all_fail else f"rank {self.rank} of {self.size}: "
            os.write(2, f"minillm: {where}{one_line(problem)}\n".encode())
            time.sleep(PRINTS_S)
        with suppress(OSError, ValueError):  # a closed or broken standard output
            sys.stdout.flush()
        if self._all_fail and self.rank:
            time.sleep(FAREWELL_S)  # rank 0 ends all
        self._end_all(code)

    def _may_speak(self) -> bool:
        """Return whether this rank says why it ends, when it is its turn. If all ranks fail, rank 0 speaks for all."""
        if self._all_fail is None:
            self._all_fail = self._within(ALIKE_S, self._failing.Ibarrier())
            if not self._all_fail:
                time.sleep(min(self.rank * TURN_S, LAST_TURN_S))
        return self.rank == 0 or not self._all_fail

    def _end_all(self, code: int) -> NoReturn:
        """Let mpiexec end all processes, and exit with this code.

        MPI_Abort tells mpiexec so in the same words, and exits. MPICH's mpiexec may hear of the exit first, and then
        reports the others, which it kills for it. So this process says it itself, and waits to be ended.
        """
        with suppress(KeyError, ValueError, OSError):  # of other launchers, which have no such line
            os.write(int(os.environ["PMI_FD"]), b"cmd=abort exitcode=%d\n" % code)
            time.sleep(FAREWELL_S)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # MPI_Abort would print, too
        self._comm.Abort(code)
        os._exit(code)

    def _wait(self, request: Any) -> None:
        for turn in count():
            if request.Test():
                return
            _pause(turn)

    def _farewell(self) -> None:
        """Wait for the others to end too. A rank that ends alone would leave them waiting for its part for ever."""
        if self._mpi.Is_finalized():
            return
        if not self._within(FAREWELL_S, self._end.Ibarrier()):
            self._all_fail = False
            self.fail("has ended, but other ranks have not")

    def _within(self, seconds: float, request: Any) -> bool:
        """Return whether the request is done within this time."""
        end = time.monotonic() + seconds
        while not request.Test():
            if time.monotonic() > end:
                return False
            time.sleep(PAUSE_S)
        return True


_active: list[Ranks] = []  # at most one: what ends together


def world() -> Ranks:
    """Return the processes that mpiexec started; one process without it.

    Raises:
        OSError: mpi4py is not installed.
    """
    return _active[0] if _active else Ranks(_mpi().COMM_WORLD)


def ranks_of(comm: Any) -> Ranks:
    """Return the processes of a communicator: `world()` if it is that of all.

    Raises:
        ValueError: it is something else.
        OSError: mpi4py is not installed.
    """
    if comm is _mpi().COMM_WORLD:
        return world()
    if not isinstance(comm, _mpi().Intracomm):
        world()  # so that the error ends the other ranks, too
    return Ranks(comm)


def fail_if_parallel(problem: str | None, code: int = 2) -> None:
    """End all ranks with one line that names this one, if there are several; else return."""
    if _active:
        _active[0].fail(problem, code)


def _pause(turn: int) -> None:
    time.sleep(0 if turn < BUSY_TURNS else PAUSE_S)


def _mpi() -> Any:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as problem:  # the second: mpi4py is there, but no MPI library
        raise OSError(f"several processes need mpi4py and MPICH: {install_hint('mpi')}") from problem
    return MPI


def _end_together(ranks: Ranks) -> None:
    """Make an exception that nobody catches, or an early end, on one rank end the others."""
    if _active:
        return
    _active.append(ranks)
    atexit.register(ranks._farewell)
    shown = sys.excepthook

    def hook(kind: type[BaseException], problem: BaseException, trace: Any) -> None:
        if ranks._may_speak() and kind is not KeyboardInterrupt:
            shown(kind, problem, trace)
        interrupted = kind is KeyboardInterrupt
        ranks.fail("interrupted" if interrupted else f"{kind.__name__}: {problem}", 130 if interrupted else 2)

    sys.excepthook = hook
