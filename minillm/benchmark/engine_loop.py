"""The other end of `engine_process.py`: what runs inside an engine's process.

Every engine gets the same requests: run a prompt, then decode greedily, token by token, in one sequence or in several
equal ones at once. What is timed, and what is not, is decided only here.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

Answer = Callable[[dict[str, Any]], dict[str, Any]]


@runtime_checkable
class Engine(Protocol):
    """What an engine must do; each returned token is the greedy choice."""

    def begin(self, sequences: int, room: int) -> None:
        """Drop all earlier sequences; make room for `sequences` sequences of `room` tokens each."""

    def prefill(self, prompt: list[int]) -> int:
        """Run the prompt in the first sequence; return the token after it."""

    def fork(self) -> None:
        """Copy the first sequence to all others."""

    def step(self, token: int) -> int:
        """Append the token to every sequence; return the token after it in the first."""


def generate(engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
    """Answer {"prompt": ids, "new_tokens": steps, "sequences": count} with seconds and the greedy tokens."""
    prompt, new_tokens, sequences = request["prompt"], request["new_tokens"], request["sequences"]
    engine.begin(sequences, len(prompt) + new_tokens)
    started = perf_counter()
    tokens = [engine.prefill(prompt)]
    prefill_s = perf_counter() - started
    engine.fork()
    started = perf_counter()
    for _ in range(new_tokens):
        tokens.append(engine.step(tokens[-1]))
    decode_s = perf_counter() - started
    return {"prefill_s": prefill_s, "decode_s": decode_s, "tokens": tokens, "peak_memory_bytes": peak_memory_bytes()}


def answer_requests(load: Callable[..., Answer]) -> None:
    """Load what the command line names, write {}, then answer requests until the input ends.

    The pipe carries only answers: everything that a library prints goes to stderr.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)

        def tell(answer: dict[str, Any]) -> None:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

        try:
            answer = load(*sys.argv[1:])
            tell({})
            for line in sys.stdin:
                tell(answer(json.loads(line)))
        except Exception as problem:  # of any kind: the parent process reports it in one line
            tell({"error": f"{type(problem).__name__}: {problem}"})


def peak_memory_bytes() -> int:
    """Return the most memory that this process has used so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, kilobytes on Linux
