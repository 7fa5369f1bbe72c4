"""Answer the lines of a batch with one engine, and yield each answer as soon as it is complete."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from minillm.batching import Engine, NewToken, Request
from minillm.serving.batch_files.prompts import PromptLine

QUEUE = 64  # requests waiting in the engine; more would only take memory


def fingerprint(settings: Mapping[str, Any], line: PromptLine) -> str:
    """Return a hash of everything that decides a request's answer: the run's settings, the prompt and its options.

    Args:
        settings: the model's name, the fingerprint of its files, the backend.
        line: the request.
    """
    asked = [settings, line.prompt, line.max_new_tokens, dataclasses.asdict(line.sampling)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def answer_lines(
    engine: Engine,
    lines: Iterable[PromptLine],
    encode: Callable[[PromptLine], tuple[list[int], int]],
    on_bad_line: Callable[[int, ValueError], Any],
    queue: int | None = None,
) -> Iterator[tuple[PromptLine, Request]]:
    """Yield every line with its finished request, in the order in which they finish.

    Args:
        engine: runs the requests; it should have no others.
        lines: read lazily as the engine proceeds, so there may be millions.
        encode: returns the token ids of a line's prompt, and the most new tokens.
        on_bad_line: called with the number of a line that cannot be run, and the reason; the other lines are run.
        queue: requests that wait in the engine until no further line is read; 64 by default. With 1, a line is read
            when the engine has admitted the line before.
    """
    unfinished: dict[Request, PromptLine] = {}
    for line in lines:
        try:
            prompt, max_new_tokens = encode(line)
            unfinished[engine.submit(prompt, max_new_tokens, line.sampling)] = line
        except ValueError as problem:
            on_bad_line(line.number, problem)
        while len(engine.scheduler.waiting) >= (queue or QUEUE):
            yield from _finished(engine.step(), unfinished)
    for event in engine.events():
        yield from _finished([event], unfinished)


def _finished(events: list[NewToken], unfinished: dict[Request, PromptLine]) -> Iterator[tuple[PromptLine, Request]]:
    for event in events:
        if event.step.finish_reason:
            yield unfinished.pop(event.request), event.request
