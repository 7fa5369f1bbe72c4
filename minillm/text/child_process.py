"""A child process in which a stranger's file cannot run for long or fill the memory.

A chat template is a program, and a tokenizer.json is nearly one: it lists steps, and patterns that can take exponential
time. So jinja2 and the tokenizers library run in processes of their own (`template_process.py`,
`tokenizer_process.py`), where the operating system enforces the limits of each request:

    parent  -- request, limits                   -->  child: limits set, request answered
            <-- answer or {"error": ...}          --

The child waits for the next request, since its start takes 0.1 s and an answer often less than 1 ms. It dies with the
parent, whose end of the channel closes then.
"""

import fcntl
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

from minillm.support.wording import counted
from minillm.text.child_script import OUT_OF_MEMORY

SCRIPT = Path(__file__).with_name("child_script.py")
WALL_PER_CPU_SECOND = 15.0  # a busy machine gives a process little of its time

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # neither a limit nor a failure
WAIT_FOR_END = 10.0  # seconds, after it has closed the channel
NEEDED = "the child process that tokenizers and chat templates need"


class NoProcess(OSError):
    """The machine lets no child process run. The request and the stranger's file are not the reason."""


class ChildProcess:
    """Runs one program in a child process. Threads take turns. After a fork, each side has its own child."""

    def __init__(self, program: Path, packages: Sequence[str], longest_answer: int) -> None:
        """Start no process; the first request does.

        The module that makes a long-lived one registers `close` with atexit and `begin_again_after_fork` with os.

        Args:
            program: a Python file with a function `answer`; see `child_script.py`.
            packages: what the program imports, besides Python's own modules.
            longest_answer: bytes; an answer with more is not read.
        """
        self.lock = threading.RLock()  # if Ctrl-C strikes before its release, the thread can take it again
        self._program, self._packages, self._longest_answer = program, packages, longest_answer
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def ask(self, request: dict[str, Any], cpu_seconds: int, memory_bytes: int) -> Any:
        """Return what the program answers to a request, which must be a value that JSON can express.

        Args:
            request: passed to `answer`.
            cpu_seconds: of processor time; the system can add one second.
            memory_bytes: of address space, in addition to what the process has already. Not enforced on macOS.

        Raises:
            ValueError: the program fails, or exceeds a limit.
            NoProcess: the process cannot be started, or was killed from outside, and again.
        """
        limits = {"cpu_seconds": cpu_seconds, "memory_bytes": memory_bytes}
        with self.lock:
            try:
                answer = json.loads(self._exchange_or_again(json.dumps(request | limits).encode() + b"\n", limits))
            except BaseException:  # Ctrl-C too: the answer would be read as that of the next request
                self.close()
                raise
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer

    def close(self) -> None:
        """Kill the process. The next request starts another one."""
        channel, process = self._channel, self._process
        self._channel = self._process = None  # first, since Ctrl-C can strike between any two lines
        if channel is not None:
            channel.close()
        if process is not None:
            process.kill()
            process.wait()

    def begin_again_after_fork(self) -> None:
        """Leave the process to the parent, and take a new lock: another thread may have held the old one."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.returncode = 0  # not a child of this process, so Popen must not wait for it
        self.lock, self._channel, self._process = threading.RLock(), None, None

    def _exchange_or_again(self, request: bytes, limits: dict[str, int]) -> bytes:
        try:
            return self._exchange(request, limits)
        except NoProcess:
            self.close()
            return self._exchange(request, limits)

    def _exchange(self, request: bytes, limits: dict[str, int]) -> bytes:
        """Send one line; return the line that comes back."""
        if not self._runs():
            self.close()
            self._start()
        assert self._channel is not None
        seconds, received = WALL_PER_CPU_SECOND * limits["cpu_seconds"], bytearray()
        end = monotonic() + seconds
        try:
            self._channel.settimeout(seconds)
            self._channel.sendall(request)
            while not received.endswith(b"\n"):
                self._channel.settimeout(max(0.001, end - monotonic()))
                data = self._channel.recv(1 << 20)
                received += data
                if len(received) > self._longest_answer:
                    raise ValueError(f"its answer has more than {self._longest_answer} bytes")
                if not data:
                    raise self._why_it_ended(**limits)
        except TimeoutError:
            raise ValueError(f"it takes more than {seconds:g} seconds") from None
        except (BrokenPipeError, ConnectionResetError):
            raise self._why_it_ended(**limits) from None
        return bytes(received)

    def _runs(self) -> bool:
        open_channel = self._channel is not None and self._channel.fileno() >= 0
        return open_channel and self._process is not None and self._process.poll() is None

    def _start(self) -> None:
        try:
            with ThreadPoolExecutor(1) as threads:  # Ctrl-C is for the main thread, so the process is not lost half-way
                threads.submit(self._launch).result()
        except (OSError, RuntimeError) as problem:  # no files, no processes, no threads
            raise NoProcess(f"{NEEDED} cannot be started: {getattr(problem, 'strerror', None) or problem}") from None

    def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        theirs.settimeout(None)  # socket.setdefaulttimeout may have set one
        with ours, theirs:
            needed = [find_spec(name) for name in self._packages]
            folders = [str(Path(spec.origin).parents[1]) for spec in needed if spec and spec.origin]
            # Not 0, 1 or 2, which are free if the standard streams are closed: libraries still write to them.
            self._channel = socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 3))
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SCRIPT), str(self._program), *folders],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
            )

    def _why_it_ended(self, cpu_seconds: int, memory_bytes: int) -> ValueError | NoProcess:
        assert self._process is not None
        try:
            ended = self._process.wait(WAIT_FOR_END)
        except subprocess.TimeoutExpired:
            return ValueError("it closed the channel of the process in which it ran")
        if ended == -signal.SIGXCPU:
            return ValueError(f"it needs more than {counted(cpu_seconds, 'second')} of processor time")
        if ended in (OUT_OF_MEMORY, -signal.SIGABRT):  # Rust aborts if it gets no memory
            return ValueError(f"it needs more than {memory_bytes // 10**6} MB of memory")
        if -ended in FROM_OUTSIDE:
            return NoProcess(f"{NEEDED} was killed (signal {-ended})")
        return ValueError("it ended the process in which it ran")
