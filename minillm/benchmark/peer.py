"""Another engine beside ours: in a process of its own, asked and answering in lines of JSON over pipes.

A request is {"context": tokens of the prompt, "new_tokens": decode steps}; the answer is {"prefill_s", "decode_s"},
measured inside the peer. The first line of a peer, once its model is loaded, is {}.
"""

import importlib.util
import json
import math
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Any

LIBRARIES = {"transformers": "transformers", "llama-cpp": "llama_cpp"}
LONGEST_ANSWER = 100_000  # bytes


def start_peer(name: str, model: str, max_tokens: int) -> "Peer":
    """The peer of this name with this model loaded: a folder for transformers, a .gguf file for llama-cpp.

    Raises:
        ValueError: its library is not installed, it cannot read this kind of model, or it failed to load it.
    """
    library = LIBRARIES[name]
    if importlib.util.find_spec(library) is None:
        raise ValueError(f"{name} is not installed; install it with: pip install 'minillm-numpy[bench]'")
    if (name == "llama-cpp") != model.endswith(".gguf"):
        expected = "a .gguf file" if name == "llama-cpp" else "a folder in Hugging Face layout"
        raise ValueError(f"{name} cannot read {model}; expected --model to be {expected}")
    return Peer(name, [sys.executable, "-m", f"minillm.benchmark.peer_{library}", model, str(max_tokens)])


class Peer:
    """A running peer; use it in a `with` statement, which ends it.

    Attributes:
        name: for messages.
        timeout: seconds that it may take for one answer.
    """

    def __init__(self, name: str, command: Sequence[str], timeout: float = 600) -> None:
        """Start it and wait until it is ready.

        Raises:
            ValueError: it ended, hung, or said something else.
        """
        self.name, self.timeout = name, timeout
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, bufsize=0)
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Peer":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def measure(self, context: int, new_tokens: int) -> tuple[float, float]:
        """Seconds of a prefill of `context` tokens, and of `new_tokens` decode steps behind it.

        Raises:
            ValueError: it ended, hung, or said something else.
        """
        request = json.dumps({"context": context, "new_tokens": new_tokens}) + "\n"
        try:
            self.process.stdin.write(request.encode())  # type: ignore[union-attr]
        except BrokenPipeError:
            raise self._ended() from None
        answer = self._answer()
        prefill, decode = (answer.get(key) for key in ("prefill_s", "decode_s"))
        for seconds in (prefill, decode):
            if not isinstance(seconds, float) or not 0 < seconds < math.inf:
                raise ValueError(f"{self.name} answered {str(answer)[:80]}; expected prefill_s and decode_s")
        return prefill, decode  # type: ignore[return-value]

    def close(self) -> None:
        """End the process, whatever it is doing."""
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
        """The next line. The pipe is read as it fills, so that half a line cannot make us wait for ever."""
        stream, line, until = self.process.stdout.fileno(), b"", monotonic() + self.timeout  # type: ignore[union-attr]
        while not line.endswith(b"\n") and len(line) < LONGEST_ANSWER:
            if not select.select([stream], [], [], max(0, until - monotonic()))[0]:
                raise ValueError(f"{self.name} did not answer within {self.timeout:.0f} seconds")
            piece = os.read(stream, 65536)
            if not piece:
                raise self._ended()
            line += piece
        return line

    def _ended(self) -> ValueError:
        return ValueError(f"{self.name} ended by itself, with exit code {self.process.wait()}")
