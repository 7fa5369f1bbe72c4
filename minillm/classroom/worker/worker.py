"""Worker: run a learner's untrusted code in a separate process. It returns values; the checker compares them here.

The code cannot change a verdict, because the verdict is made in this process. No expected result, seed or path is sent
to the worker process. Its answers are numbered frames of JSON and raw bytes, and every field of them is checked. Any
other behaviour (no answer, invalid bytes, an exit, too much output) is a failure with a message. The worker process has
its own session. Its whole process group is killed when the worker is closed, exceeds a time limit or prints too much.
It also ends when this process ends. `worker_process.py` describes the restrictions inside the process. This works on
POSIX systems only.
"""

import os
import select
import signal
import subprocess
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeAlias

import numpy as np

from minillm.classroom.worker import wire
from minillm.classroom.worker.start import Running, start_process

SHOWN_OUTPUT = 2000  # bytes of the printed output that are stored
CHUNK = 1 << 16  # bytes per read or write


@dataclass(frozen=True)
class Limits:
    """Limits of the code: seconds to load, for one call, and for all calls; bytes of memory, a result and output."""

    load_s: float = 20.0
    call_s: float = 5.0
    check_s: float = 30.0
    memory_bytes: int = 1 << 30
    result_bytes: int = 64 << 20
    output_bytes: int = 1 << 20


@dataclass(frozen=True)
class Returned:
    """A returned value, and the inputs after the call."""

    value: Any
    inputs: Any = None


@dataclass(frozen=True)
class Failed:
    """The reason why no value was returned.

    Attributes:
        kind: "raised", "missing", "time", "output", "ended", "forbidden" or "unreadable".
        message: the reason in words.
        error: the type of the exception, if the code raised one.
        line: the line of the source that raised it.
    """

    kind: str
    message: str
    error: str = ""
    line: int | None = None


Outcome: TypeAlias = Returned | Failed


class Worker:
    """Runs one source at a time. Use it in a `with` statement, which ends the process.

    `load` starts the process. After a failure that ended the process, the next `load` starts a new one. On Linux the
    kernel ends the process with the thread that called `load`, even if this process is killed.

    Attributes:
        limits: the limits of the code.
        started: whether a process has ever started.
        locks: the kernel's locks in force in the last process: "landlock", "seccomp", both or none (kernel_lock.py).
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Make a worker. Its process starts at the first `load`."""
        self.locks: tuple[str, ...] = ()
        self.started = False
        self.limits = limits or Limits()
        self._running: Running | None = None
        self._number = 0
        self._until = 0.0

    def __enter__(self) -> "Worker":
        """Return the worker."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    @property
    def ended(self) -> bool:
        """Whether there is no process, because it has not started, or ended itself, or was killed."""
        return self._running is None

    @property
    def output(self) -> str:
        """The beginning of the output since the last `load`. It may contain any character."""
        return bytes(self._running.shown).decode("utf-8", "replace") if self._running else self._last_output

    _last_output = ""

    def load(self, source: str, name: str, harness: str = "") -> Outcome:
        """Run a source that defines a function.

        Args:
            source: the learner's source.
            name: the name of the function that `call` calls.
            harness: our source that defines `call(function, **inputs)`; by default function(*inputs) is called.
        """
        failed = self._start() if self._running is None else None
        if failed is not None:
            return failed
        assert self._running is not None
        self._running.shown.clear()
        self._running.output_bytes = 0
        what, seconds = {"source": source, "name": name, "harness": harness}, self.limits.load_s
        answer = self._ask("load", what, seconds, f"the code took more than {seconds:g} seconds")
        self._until = monotonic() + self.limits.check_s
        if isinstance(answer, Failed):
            return answer
        if _text(answer, "loaded") == name:
            return Returned(None)
        names = answer.get("found")
        found = ", ".join(key for key in names if isinstance(key, str)) if isinstance(names, list) else ""
        return Failed("missing", f"expected a function {name}; found {found[:200] or 'no function'}")

    def call(self, inputs: dict[str, Any]) -> Outcome:
        """Call the loaded function with these inputs. The time of all calls since `load` is limited, too."""
        if self._running is None:
            return Failed("ended", "the worker process has ended; load the source again")
        left, of_one, of_all = self._until - monotonic(), self.limits.call_s, self.limits.check_s
        too_slow = f"the code took more than {of_one:g} seconds"
        if left < of_one:
            too_slow = f"all calls took more than {of_all:g} seconds"
        answer = self._ask("call", inputs, min(left, of_one), too_slow)
        if isinstance(answer, Failed):
            return answer
        if "result" not in answer or not isinstance(answer.get("inputs"), dict):
            return self._give_up("unreadable", "the answer of the worker process has no result")
        return Returned(answer["result"], answer["inputs"])

    def close(self) -> None:
        """Kill the process and its process group."""
        if self._running is None:
            return
        running, self._running = self._running, None
        self._last_output = bytes(running.shown).decode("utf-8", "replace")
        _kill_group(running.process)
        for pipe in (running.requests, running.answers, running.output):
            os.close(pipe)

    def _start(self) -> Failed | None:
        """Start the process, and wait until it is locked. If it does not start with the lock, start it without."""
        seconds = int(self.limits.load_s + 100 * self.limits.call_s)  # of processor time, a last resort
        for locked in (True, False):
            self._running, self._number = start_process(self.limits.memory_bytes, seconds, locked), 0
            ready = self._answer(b"", self.limits.load_s, "the worker process did not start in time")
            if not isinstance(ready, Failed):
                self.locks, self.started = tuple(ready["locks"]), True  # no code of a learner has run yet
                return None
            failed = ready
        return failed

    def _ask(self, do: str, what: dict[str, Any], seconds: float, too_slow: str) -> dict[str, Any] | Failed:
        self._number += 1
        return self._answer(wire.pack({"number": self._number, "do": do, "with": what}), seconds, too_slow)

    def _answer(self, frame: bytes, seconds: float, too_slow: str) -> dict[str, Any] | Failed:
        """Send a frame, and return the answer with its number. After `seconds` give up and say `too_slow`."""
        body = self._exchange(frame, monotonic() + seconds, too_slow)
        if isinstance(body, Failed):
            return body
        try:
            answer = wire.unpack(body)
        except ValueError:
            return self._give_up("unreadable", "the worker process sent an invalid answer")
        if isinstance(answer, dict) and "forbidden" in answer:
            return self._give_up("forbidden", _forbidden_text(answer))
        number = answer.get("number") if isinstance(answer, dict) else None
        if type(number) is not int or number != self._number:  # comparing an array gives an array
            return self._give_up("unreadable", "the worker process sent an answer with a wrong number")
        if "error" in answer:
            return _raised(answer)
        return answer

    def _exchange(self, frame: bytes, until: float, too_slow: str) -> bytes | Failed:
        """Send a frame and receive one. Read the output at the same time, so that no pipe blocks for ever."""
        running, received, left = self._running, bytearray(), memoryview(frame)
        assert running is not None
        while not _is_whole(received):
            if _length(received) > self.limits.result_bytes:
                return self._give_up("unreadable", f"the result is larger than {self.limits.result_bytes} bytes")
            wait = until - monotonic()
            if wait <= 0:
                return self._give_up("time", too_slow)
            listened = [running.answers, running.output] if running.output_open else [running.answers]
            ready = _ready(listened, [running.requests] if left else [], wait)
            try:
                left = left[os.write(running.requests, left[:CHUNK]) :] if running.requests in ready else left
            except BrokenPipeError:
                return self._ended()
            if running.output in ready and not self._read_output(running):
                return self._flooded()
            if running.answers in ready:
                chunk = os.read(running.answers, CHUNK)
                if not chunk:
                    return self._ended()
                received += chunk
        while running.output_open and _ready([running.output], [], 0):
            if not self._read_output(running):
                return self._flooded()
        return bytes(received[wire.LENGTH_BYTES :])

    def _read_output(self, running: Running) -> bool:
        """Read the printed output. Return whether it is still within the limit."""
        chunk = os.read(running.output, CHUNK)
        running.output_open = bool(chunk)  # the code may close its standard output
        running.output_bytes += len(chunk)
        running.shown += chunk[: SHOWN_OUTPUT - len(running.shown)]
        return running.output_bytes <= self.limits.output_bytes

    def _flooded(self) -> Failed:
        return self._give_up("output", f"the code printed more than {self.limits.output_bytes} bytes")

    def _ended(self) -> Failed:
        """Return the failure after the pipe was closed."""
        assert self._running is not None
        try:
            code: int | None = self._running.process.wait(0.5)
        except subprocess.TimeoutExpired:
            return self._give_up("ended", "the code closed the pipe for its results")
        if code == -signal.SIGXCPU:
            return self._give_up("time", "the code exceeded its limit of processor time")
        how = f"with exit code {code}" if code is not None and code >= 0 else f"by signal {-(code or 0)}"
        return self._give_up("ended", f"the process ended {how}; expected a return value")

    def _give_up(self, kind: str, message: str) -> Failed:
        self.close()
        return Failed(kind, message)


def _ready(read: list[int], written: list[int], seconds: float) -> set[int]:
    """Wait for these pipes. Return those that can be read or written, or have ended. Their numbers may be large."""
    poll = select.poll()
    for pipe in read:
        poll.register(pipe, select.POLLIN)
    for pipe in written:
        poll.register(pipe, select.POLLOUT)
    return {pipe for pipe, _ in poll.poll(seconds * 1000)}


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # already ended; macOS raises PermissionError for a zombie
        process.kill()
    process.wait()


def _length(received: bytearray) -> int:
    return int.from_bytes(received[: wire.LENGTH_BYTES], "little") if len(received) >= wire.LENGTH_BYTES else 0


def _is_whole(received: bytearray) -> bool:
    return len(received) >= wire.LENGTH_BYTES and len(received) - wire.LENGTH_BYTES >= _length(received)


def _text(answer: dict[str, Any], key: str) -> str:
    value = answer.get(key)
    return value if isinstance(value, str) else ""


def _raised(answer: dict[str, Any]) -> Failed:
    error, line = _text(answer, "error")[:100] or "an exception", answer.get("line")
    return Failed("raised", _text(answer, "message")[:1000], error, line if type(line) is int else None)


def _forbidden_text(answer: dict[str, Any]) -> str:
    told = answer["forbidden"]  # text of a fixed length, as an array of bytes
    text = told.tobytes().decode("utf-8", "replace")[:300] if isinstance(told, np.ndarray) else ""
    return f"the code did something that an exercise does not need: {' '.join(text.split())}"
