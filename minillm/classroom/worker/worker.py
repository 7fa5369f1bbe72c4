"""Worker: a process apart in which untrusted code computes. It returns values; whoever asked compares them.

Nothing that the code does can change a verdict, because the verdict is not made there: no expected result, seed or
path is ever sent. Answers are numbered frames of JSON and raw bytes of which every field is checked; whatever else
comes (nothing, garbage, an exit, silence, a flood) is a failure with a reason. The process has a session of its own,
and the whole group is killed when it is closed, late, or talks too much. How it is locked up inside is told in
`worker_process.py`. POSIX only, as its pipes and limits are.
"""

import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

import numpy as np

from minillm.classroom.worker import wire

SCRIPT = Path(__file__).with_name("worker_process.py")
SHOWN_OUTPUT = 2000  # bytes of what the code printed that are kept
PIECE = 1 << 16
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Limits:
    """What the code may use: seconds until it is loaded, and for one call; bytes of memory, results and output."""

    load_s: float = 20.0
    call_s: float = 5.0
    memory_bytes: int = 1 << 30
    result_bytes: int = 64 << 20
    output_bytes: int = 1 << 20


@dataclass(frozen=True)
class Returned:
    """What came back: the value, and the inputs as the code left them."""

    value: Any
    inputs: Any = None


@dataclass(frozen=True)
class Failed:
    """Why nothing came back.

    Attributes:
        kind: "raised", "missing", "time", "output", "ended", "forbidden" or "unreadable".
        message: in words.
        error: the type of the exception, if it raised one.
        line: the line of the source in which it did.
    """

    kind: str
    message: str
    error: str = ""
    line: int | None = None


Outcome: TypeAlias = Returned | Failed


@dataclass
class _Running:
    """A started process and the ends of its pipes."""

    process: "subprocess.Popen[bytes]"
    requests: int
    answers: int
    output: int
    output_open: bool = True
    output_bytes: int = 0
    shown: bytearray = field(default_factory=bytearray)


class Worker:
    """Runs one source at a time; use it in a `with` statement, which ends the process.

    It starts when something is loaded, and starts anew after a failure that ended it.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Nothing is started yet."""
        self.limits = limits or Limits()
        self._running: _Running | None = None
        self._number = 0

    def __enter__(self) -> "Worker":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    @property
    def output(self) -> str:
        """The beginning of what the code has printed since it was loaded. It may hold any character."""
        return bytes(self._running.shown).decode("utf-8", "replace") if self._running else self._last_words

    _last_words = ""

    def load(self, source: str, name: str, harness: str = "") -> Outcome:
        """Run a source, which defines a function of this name.

        Args:
            source: the learner's.
            name: the function that `call` will call.
            harness: source of ours that defines `call(function, **inputs)`, if it is not called on the inputs as such.
        """
        if self._running is None:
            self._start()
        assert self._running is not None
        self._running.shown.clear()
        self._running.output_bytes = 0
        answer = self._ask("load", {"source": source, "name": name, "harness": harness}, self.limits.load_s)
        if isinstance(answer, Failed):
            return answer
        if _text(answer, "loaded") == name:
            return Returned(None)
        names = answer.get("found")
        found = ", ".join(key for key in names if isinstance(key, str)) if isinstance(names, list) else ""
        return Failed("missing", f"there is no function {name}" + (f"; it defines {found[:200]}" if found else ""))

    def call(self, inputs: dict[str, Any]) -> Outcome:
        """Call the function that was loaded."""
        if self._running is None:
            return Failed("ended", "it has ended; load it again")
        answer = self._ask("call", inputs, self.limits.call_s)
        if isinstance(answer, Failed):
            return answer
        if "result" not in answer or not isinstance(answer.get("inputs"), dict):
            return self._give_up("unreadable", "it answered without a result")
        return Returned(answer["result"], answer["inputs"])

    def close(self) -> None:
        """Kill the process and all that it started."""
        if self._running is None:
            return
        running, self._running = self._running, None
        self._last_words = bytes(running.shown).decode("utf-8", "replace")
        _kill_group(running.process)
        for pipe in (running.requests, running.answers, running.output):
            os.close(pipe)

    def _start(self) -> None:
        theirs, requests = os.pipe()
        answers, their_answers = os.pipe()
        output, their_output = os.pipe()
        limits = self.limits
        seconds = int(limits.load_s + 100 * limits.call_s)  # of processor time, for the case that we are gone
        arguments = [theirs, their_answers, limits.memory_bytes, seconds, Path(np.__file__).parents[1]]
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(SCRIPT), *(str(argument) for argument in arguments)],
                stdin=subprocess.DEVNULL, stdout=their_output, stderr=their_output, cwd="/",
                pass_fds=(theirs, their_answers), start_new_session=True,
                env=ENVIRONMENT,
            )  # fmt: skip
        except BaseException:
            for pipe in (requests, answers, output):
                os.close(pipe)
            raise
        finally:
            for pipe in (theirs, their_answers, their_output):
                os.close(pipe)
        os.set_blocking(requests, False)
        self._running = _Running(process, requests, answers, output)

    def _ask(self, do: str, what: dict[str, Any], seconds: float) -> dict[str, Any] | Failed:
        self._number += 1
        frame = wire.pack({"number": self._number, "do": do, "with": what})
        body = self._exchange(frame, monotonic() + seconds, seconds)
        if isinstance(body, Failed):
            return body
        try:
            answer = wire.unpack(body)
        except ValueError:
            return self._give_up("unreadable", "it answered with something that is no result")
        if isinstance(answer, dict) and "forbidden" in answer:
            return self._give_up("forbidden", _forbidden_text(answer))
        number = answer.get("number") if isinstance(answer, dict) else None
        if type(number) is not int or number != self._number:  # an array compares to another array
            return self._give_up("unreadable", "it answered something that was not asked")
        if "error" in answer:
            return _raised(answer)
        return answer

    def _exchange(self, frame: bytes, until: float, seconds: float) -> bytes | Failed:
        """Send a frame and receive one, reading what is printed meanwhile, so that neither side waits for ever."""
        running, received, left = self._running, bytearray(), memoryview(frame)
        assert running is not None
        while not _is_whole(received):
            if _length(received) > self.limits.result_bytes:
                return self._give_up("unreadable", f"its result is larger than {self.limits.result_bytes} bytes")
            wait = until - monotonic()
            if wait <= 0:
                return self._give_up("time", f"it took more than {seconds:g} seconds")
            listened = [running.answers, running.output] if running.output_open else [running.answers]
            readable, writable, _ = select.select(listened, [running.requests] if left else [], [], wait)
            try:
                left = left[os.write(running.requests, left[:PIECE]) :] if writable else left
            except BrokenPipeError:
                return self._ended()
            if running.output in readable and not self._read_output(running):
                return self._give_up("output", f"it printed more than {self.limits.output_bytes} bytes")
            if running.answers in readable:
                piece = os.read(running.answers, PIECE)
                if not piece:
                    return self._ended()
                received += piece
        while running.output_open and select.select([running.output], [], [], 0)[0]:
            self._read_output(running)
        return bytes(received[wire.LENGTH_BYTES :])

    def _read_output(self, running: _Running) -> bool:
        """Take what was printed; whether it is still little enough."""
        piece = os.read(running.output, PIECE)
        running.output_open = bool(piece)  # the code may close its standard output
        running.output_bytes += len(piece)
        running.shown += piece[: SHOWN_OUTPUT - len(running.shown)]
        return running.output_bytes <= self.limits.output_bytes

    def _ended(self) -> Failed:
        """The pipe is closed."""
        assert self._running is not None
        try:
            code: int | None = self._running.process.wait(0.5)
        except subprocess.TimeoutExpired:
            return self._give_up("ended", "it closed the pipe that its results go through")
        if code == -signal.SIGXCPU:
            return self._give_up("time", "it used up its processor time")
        how = f"with exit code {code}" if code is not None and code >= 0 else f"by signal {-(code or 0)}"
        return self._give_up("ended", f"it ended the process {how} instead of returning")

    def _give_up(self, kind: str, message: str) -> Failed:
        self.close()
        return Failed(kind, message)


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # gone already; macOS says the second of a zombie
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
    return f"it tried something that an exercise does not need: {' '.join(text.split())}"
