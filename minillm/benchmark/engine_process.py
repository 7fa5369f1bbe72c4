"""An engine in a separate process, ours as well as its peers: requests and answers are lines of JSON over pipes.

Separate processes keep thread pools, memory and crashes apart, and set each engine's number of threads before its
libraries are imported. `engine_loop.py` runs at the other end.
"""

import json
import math
import os
import select
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from minillm.backends.threads import environment_for

LONGEST_ANSWER = 1_000_000  # bytes


@dataclass(frozen=True)
class Generated:
    """The seconds of one run, and its tokens: the greedy token after the prompt, then one after each step."""

    prefill_s: float
    decode_s: float
    tokens: tuple[int, ...]
    peak_memory_bytes: int


class EngineProcess:
    """A running engine; use it in a `with` statement, which ends it.

    Attributes:
        name: for messages and tables.
        timeout: seconds allowed for one answer.
    """

    def __init__(self, name: str, command: Sequence[str], threads: int, timeout: float = 600) -> None:
        """Start the process and wait until it is ready.

        Raises:
            ValueError: the process ended, hung, or wrote something else.
        """
        self.name, self.timeout = name, timeout
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=nowhere, bufsize=0, env=environment_for(threads)
        )
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "EngineProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def generate(self, prompt: Sequence[int], new_tokens: int, sequences: int = 1) -> Generated:
        """Run a prompt, copy it to `sequences` sequences, and decode in all of them at once.

        Raises:
            ValueError: the process ended, hung, or wrote something else.
        """
        answer = self.ask({"prompt": list(prompt), "new_tokens": new_tokens, "sequences": sequences})
        if not _is_generated(answer, new_tokens):
            raise ValueError(f"{self.name} answered {str(answer)[:80]}; expected seconds, tokens and memory")
        return Generated(answer["prefill_s"], answer["decode_s"], tuple(answer["tokens"]), answer["peak_memory_bytes"])

    def figures(self, request: dict[str, Any], *names: str) -> list[float]:
        """Return the numbers with these names in the answer to a request.

        Raises:
            ValueError: the process ended, hung, or wrote something else.
        """
        answer = self.ask(request)
        values = [answer.get(name) for name in names]
        if not all(isinstance(value, float) and math.isfinite(value) for value in values):
            raise ValueError(f"{self.name} answered {str(answer)[:80]}; expected {' and '.join(names)}")
        return values  # type: ignore[return-value]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one request, an object.

        Raises:
            ValueError: the process ended, hung, or wrote something else.
        """
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer()

    def close(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()  # type: ignore[union-attr]

    def _answer(self) -> dict[str, Any]:
        line = self._line()
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ValueError(f"{self.name} answered {line[:80]!r}; expected one JSON object")
        if "error" in answer:
            raise ValueError(f"{self.name} failed: {' '.join(str(answer['error']).split())[:200]}")
        return answer

    def _line(self) -> bytes:
        """Return the next line. The pipe is read as it fills, so that half a line cannot make this process hang."""
        stream, line, until = self.process.stdout.fileno(), b"", monotonic() + self.timeout  # type: ignore[union-attr]
        while not line.endswith(b"\n") and len(line) < LONGEST_ANSWER:
            if not select.select([stream], [], [], max(0, until - monotonic()))[0]:
                raise ValueError(f"{self.name} did not answer within {self.timeout:.0f} seconds")
            data = os.read(stream, 65536)
            if not data:
                raise self._ended()
            line += data
        return line

    def _ended(self) -> ValueError:
        code = self.process.wait()
        if code == -signal.SIGILL:
            return ValueError(f"{self.name} has instructions that this processor lacks; build it again, for this one")
        return ValueError(f"{self.name} ended by itself, with exit code {code}")


def _is_generated(answer: dict[str, Any], new_tokens: int) -> bool:
    seconds, tokens = [answer.get(key) for key in ("prefill_s", "decode_s")], answer.get("tokens")
    timed = all(isinstance(value, float) and 0 < value < math.inf for value in seconds)
    said = isinstance(tokens, list) and len(tokens) == new_tokens + 1 and all(type(token) is int for token in tokens)
    return timed and said and type(answer.get("peak_memory_bytes")) is int
