"""Answer the lines of a batch with one engine, and tell each answer as soon as it is whole."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from minillm.batch_files.prompts import PromptLine
from minillm.batching import Engine, Event, Request
from minillm.model import Model

QUEUE = 64  # requests that wait in the engine; more would only take memory


def fingerprint(model: Model, settings: Mapping[str, Any], line: PromptLine) -> str:
    """What distinguishes a request from others: the model, the settings of the run, the prompt and its options.

    Args:
        model: of which the config, the final norm and some rows of the embedding tell versions of one name apart.
        settings: whatever else changes answers, such as the model's name and the backend.
        line: the request.
    """
    asked = [settings, line.prompt, line.max_new_tokens, dataclasses.asdict(line.sampling)]
    weights = [np.asarray(model.ops.to_host(array), np.float32) for array in (model.final_norm, model.embedding[:64])]
    parts = [repr(model.config).encode(), *(array.tobytes() for array in weights), json.dumps(asked).encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def answer_lines(
    engine: Engine,
    lines: Iterable[PromptLine],
    encode: Callable[[PromptLine], tuple[list[int], int]],
    on_bad_line: Callable[[int, ValueError], Any],
) -> Iterator[tuple[PromptLine, Request]]:
    """Every line with its finished request, in the order in which they finish.

    Args:
        engine: runs them; it should have nothing else to do.
        lines: taken one after another as the engine gets on, so that there may be very many.
        encode: the token ids of a line's prompt, and the most new tokens.
        on_bad_line: is told the number of a line that cannot be run, and why; the others still are.
    """
    unfinished: dict[Request, PromptLine] = {}
    for line in lines:
        try:
            prompt, max_new_tokens = encode(line)
            unfinished[engine.submit(prompt, max_new_tokens, line.sampling)] = line
        except ValueError as problem:
            on_bad_line(line.number, problem)
        while len(engine.scheduler.waiting) >= QUEUE:
            yield from _finished(engine.step(), unfinished)
    for event in engine.events():
        yield from _finished([event], unfinished)


def _finished(events: list[Event], unfinished: dict[Request, PromptLine]) -> Iterator[tuple[PromptLine, Request]]:
    for event in events:
        if event.step.finish_reason:
            yield unfinished.pop(event.request), event.request
