"""The transport to an engine in a process of its own: it may crash or hang, and it leaves its counterexample.

    properties  -- request -->  engine_child.py, session.py, the engine
                <-- answer --

Requests and answers are frames of `wire.py`, without pickle. Caches stay in the engine's process. What the engine
prints goes to a file. A process that ends gives the answer {"crashed": ...}. One that exceeds its time limit is killed,
and gives {"hung": ...}. The next example gets a new process: a copy of one that has loaded the file (`os.fork`). Only
an engine that has failed is ever copied, since some libraries do not work in a copy.
"""

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from minillm.classroom.worker.wire import LENGTH_BYTES, pack, unpack
from minillm.support.printable import safe
from minillm.verification.handles import encoded

SCRIPT = Path(__file__).with_name("engine_child.py")
ROOT = str(Path(__file__).parents[2])
LOAD_SECONDS = 600.0
END_SECONDS = 10.0  # in which a process that has closed its socket ends
MOST_BYTES = 1 << 30  # of an answer
SHOWN_LINES, SHOWN_BYTES = 4, 20_000  # of the output


class EngineProcess:
    """Asks a session in another process.

    Attributes:
        described: what the session says of its engines.
    """

    def __init__(self, file: Path, show_output: bool = False) -> None:
        """Start a process, and load the file in it.

        Args:
            file: the file with the engines.
            show_output: whether what the engine prints is shown, and not kept for the report of a crash.

        Raises:
            ValueError: if the file does not load.
        """
        self._file, self._original, self._nursery = file.absolute(), None, None
        self._process: Process | None = None
        self._output = None if show_output else _appended_file()
        try:
            self._original = self._process = Process.start(self._file, self._output)
        except ValueError as problem:
            self.close()
            raise ValueError(str(problem).replace(str(self._file), str(file))) from None
        self.described = self._original.described

    _original: "Process | None"
    _nursery: "Process | None"

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return the session's answer, or {"crashed": how, "output": lines}, or {"hung": seconds}."""
        if request["do"] == "begin":
            self._begin()
        assert self._process is not None
        functions: list[Callable[..., Any]] = []
        try:
            answer, problem = self._process.ask(encoded(request, functions), functions, seconds)
        except TimeoutError:
            self._kill()
            return {"hung": seconds}
        except OSError:
            how = self._process.ending()
            self._kill()
            return {"crashed": how, "output": self._last_output()}
        except BaseException:  # Ctrl-C, too: the answer would be read as that of the next request
            self._kill()
            raise
        if problem is not None:
            raise problem
        return answer

    def refresh(self) -> None:
        """If the process has failed, start a new one that is not a copy."""
        if self._original is None:
            self.renew()

    def renew(self) -> None:
        """Start a new process that is not a copy."""
        self._kill_all()
        self._original = self._process = Process.start(self._file, self._output)

    def close(self) -> None:
        """Kill all processes."""
        self._kill_all()
        if self._output is not None:
            self._output.close()

    def _kill_all(self) -> None:
        self._kill()
        if self._nursery is not None:
            self._nursery.kill()
            self._nursery = None

    def _begin(self) -> None:
        if self._output is not None:
            self._output.truncate(0)
        if self._process is None:
            self._nursery = self._nursery or Process.start(self._file, self._output)
            try:
                self._process = self._nursery.copy()
            except OSError:
                self._kill_all()
                self._process = Process.start(self._file, self._output)

    def _kill(self) -> None:
        process, self._process, self._original = self._process, None, None
        if process is not None:
            process.kill()

    def _last_output(self) -> list[str]:
        """Return the line of the file that crashed, if Python knows it, or the last lines that were printed."""
        if self._output is None:
            return []
        size = os.fstat(self._output.fileno()).st_size
        text = os.pread(self._output.fileno(), SHOWN_BYTES, max(0, size - SHOWN_BYTES)).decode("utf-8", "replace")
        printed, _, stack = text.partition("Fatal Python error: ")
        lines = [safe(line)[:200] for line in printed.splitlines() if line.strip()][-SHOWN_LINES:]
        place = re.search(rf'File "{re.escape(str(self._file))}", (line \d+ in \w+)', stack)
        return [*lines, *([f"{self._file.name}, {place[1]}"] if place else [])]


def _appended_file() -> Any:
    """Return a temporary file to which several processes append. After `truncate(0)` they begin at its start again."""
    file = tempfile.TemporaryFile()
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file


class Process:
    """One process, and the socket to it.

    Attributes:
        described: what its session says of its engines.
    """

    def __init__(self, channel: socket.socket, number: int, wait: Callable[[], int]) -> None:
        """Take a process.

        Args:
            channel: the socket to it.
            number: its process id, which is that of its group, too.
            wait: returns its exit status, or minus the number of the signal that ended it.
        """
        self._channel, self._number, self._wait = channel, number, wait
        self._status: int | None = None
        self.described: list[dict[str, Any]] = []

    @classmethod
    def start(cls, file: Path, output: Any) -> "Process":
        """Start a process, and load the file in it.

        Raises:
            ValueError: if the file does not load.
        """
        ours, theirs = socket.socketpair()
        path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
        with theirs:
            started = subprocess.Popen(
                [sys.executable, "-P", "-u", str(SCRIPT), str(theirs.fileno()), str(os.getpid()), str(file)],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
                env=os.environ | {"PYTHONPATH": path},
            )  # fmt: skip
        process = cls(ours, started.pid, lambda: started.wait(END_SECONDS))
        try:
            told = process._receive(monotonic() + LOAD_SECONDS)
        except TimeoutError:
            process.kill()
            raise ValueError(f"{file} does not load: no end within {LOAD_SECONDS:g} seconds") from None
        except OSError:
            how = process.ending()
            process.kill()
            raise ValueError(f"{file} does not load: its process ended with {how}") from None
        except BaseException:
            process.kill()
            raise
        if "described" not in told:
            process.kill()
            raise ValueError(told.get("invalid", f"{file} does not load"))
        process.described = told["described"]
        return process

    def copy(self) -> "Process":
        """Return a copy of this process, which waits for its end and can do nothing else until then."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._channel.settimeout(LOAD_SECONDS)
            self._channel.sendall(pack({"do": "fork"}))
            socket.send_fds(self._channel, [b"f"], [theirs.fileno()])
            number = self._receive(monotonic() + LOAD_SECONDS)["process"]
        return Process(ours, number, lambda: int(self._receive(monotonic() + END_SECONDS)["ended"]))

    def ask(
        self, request: dict[str, Any], functions: list[Callable[..., Any]], seconds: float
    ) -> tuple[dict[str, Any], BaseException | None]:
        """Send a request, call the functions that the engine asks for, and return the answer.

        The second result is what one of the functions has raised.

        Raises:
            TimeoutError: if it takes too long.
            OSError: if the process ends.
        """
        until, frame = monotonic() + seconds, pack(request)
        problem: BaseException | None = None
        while True:
            self._channel.settimeout(max(0.001, until - monotonic()))
            self._channel.sendall(frame)
            answer = self._receive(until)
            if "function" not in answer:
                return answer, problem
            try:
                frame = pack({"result": functions[answer["function"]](*answer["arguments"])})
            except BaseException as failed:
                frame, problem = pack({"failed": True}), failed

    def ending(self) -> str:
        """Wait until the process ends, and return how: a signal, or an exit status."""
        status = self._ended()
        if status is None:
            return "a closed connection"
        if status >= 0:
            return f"exit status {status}"
        return f"signal {signal.Signals(-status).name} ({signal.strsignal(-status)})"

    def kill(self) -> None:
        """Kill the process and all that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # already ended
            os.killpg(self._number, signal.SIGKILL)
        self._ended()
        self._channel.close()

    def _ended(self) -> int | None:
        """Wait until the process ends. Return its status, or None if it does not end."""
        if self._status is None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._status = self._wait()
        return self._status

    def _receive(self, until: float) -> dict[str, Any]:
        length = int.from_bytes(self._read(LENGTH_BYTES, until), "little")
        if length > MOST_BYTES:
            raise ConnectionError("the answer is too large")
        try:
            answer = unpack(self._read(length, until))
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ConnectionError("the answer is not one of a session")
        return answer

    def _read(self, count: int, until: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._channel.settimeout(max(0.001, until - monotonic()))
            piece = self._channel.recv(min(count - len(data), 1 << 20))
            if not piece:
                raise ConnectionError("the process has ended")
            data += piece
        return bytes(data)
