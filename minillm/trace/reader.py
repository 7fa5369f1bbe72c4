"""Reader: a trace from a file that anybody may have written. It is bounded and checked before anything uses it."""

import base64
import binascii
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from minillm.support.checks import shown
from minillm.support.files import parse_json, read_ordinary_file
from minillm.support.state_file import write_whole
from minillm.support.wording import counted
from minillm.trace.schema import FORMAT, LARGEST, LONGEST_LINE, MOST_LINES, VERSION, check
from minillm.trace.state import State
from minillm.trace.states import States

Line = dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """What a run did, as a file has it.

    Attributes:
        header: what was recorded, and how.
        lines: all lines after the header, in order.
        states: the state after each step, and the lines of each step.
    """

    header: Line
    lines: list[Line]
    states: States

    def __repr__(self) -> str:
        interrupted = "" if self.finished else ", interrupted"
        steps, requests = len(self.states.steps) - 1, len(self.states.last["requests"])
        return f"Trace({counted(steps, 'step')}, {counted(requests, 'request')}{interrupted})"

    @property
    def finished(self) -> bool:
        """Whether the recording came to its end; if not, the run was interrupted."""
        return bool(self.lines) and self.lines[-1]["t"] == "end"

    @property
    def has_attention(self) -> bool:
        """Whether attention weights were recorded."""
        return any(line["t"] == "attention" for line in self.lines)

    def without_attention(self) -> "Trace":
        """Return the trace without attention weights, on which no state depends."""
        return Trace(self.header, [line for line in self.lines if line["t"] != "attention"], self.states)

    def state(self, step: int) -> State:
        """Return the state after a step: requests, tables, blocks, queues and totals. -1 is the last step.

        Raises:
            IndexError: there is no such step.
        """
        return self.states.at(step)

    def html(self, path: str | os.PathLike[str]) -> None:
        """Write the page on which anybody can step through the run: one file, which needs nothing else.

        Raises:
            ValueError: the page would have more than 2 MB.
            OSError: the file cannot be written.
        """
        page = import_module("minillm.trace.page").page  # by its name, because it imports this module
        write_whole(Path(path), page(self))

    @cached_property
    def texts(self) -> dict[int, str]:
        """The text of every token that the trace names."""
        return {token: text for line in self.lines if line["t"] == "tokens" for token, text in line["texts"]}

    @cached_property
    def requests(self) -> dict[int, Line]:
        """The lines that describe the requests, by number."""
        return {line["id"]: line for line in self.lines if line["t"] == "request"}


def load(path: str | os.PathLike[str]) -> Trace:
    """Return the trace in a file. The trace of an interrupted run has what ran until then.

    Raises:
        ValueError: the file is not a trace of this version, is damaged or too large; or its lines contradict.
        OSError: the file cannot be read, or is not an ordinary file.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/run.jsonl"
        >>> with minillm.trace.record(path):
        ...     out = minillm.generate(minillm.load("story"), "The capital of France is", max_new_tokens=3)
        >>> trace = minillm.trace.load(path)
        >>> trace, trace.state(2)["requests"][0]["text"]
        (Trace(3 steps, 1 request), ' Paris')
    """
    return parsed(read_ordinary_file(Path(path), LARGEST), Path(path).name)


def parsed(content: bytes, name: str) -> Trace:
    """Return the trace in the content of a file. Messages call the file `name`.

    Raises:
        ValueError: as `load` does.
    """
    header, *lines = _numbered_lines(content, name)
    _check_header(name, header[1])
    states = States()
    for number, line in lines:
        try:
            states.add(check(line))
            _check_line(line, number, states, header[1]["clock"])
        except (KeyError, IndexError):
            raise ValueError(f"{name}, line {number}: {line['t']} does not follow from the lines before") from None
        except ValueError as problem:
            raise ValueError(f"{name}, line {number}: {problem}") from None
    return Trace(header[1], [line for _, line in lines], states)


def _numbered_lines(content: bytes, name: str) -> Iterator[tuple[int, Any]]:
    """Yield what the lines of a file hold, with their numbers from 1."""
    *lines, last = content.split(b"\n")
    if len(lines) > MOST_LINES:
        raise ValueError(f"{name}: expected at most {MOST_LINES} lines, found more")
    for number, line in enumerate(lines, start=1):
        if len(line) > LONGEST_LINE:
            raise ValueError(f"{name}, line {number}: {len(line)} bytes; expected at most {LONGEST_LINE}")
        yield number, parse_json(line, f"{name}, line {number}", lines[0])
    if last or not lines:
        what = f"line {len(lines) + 1} is cut off; delete it to read the lines before" if lines else "not a trace"
        raise ValueError(f"{name}: {what}")


def _check_header(name: str, header: Any) -> None:
    """Raise ValueError unless this is the first line of a trace that this version can read."""
    if type(header) is not dict or header.get("format") != FORMAT or header.get("t") != "header":
        raise ValueError(f'{name}: expected a trace, whose first line has "format":"{FORMAT}"; found {shown(header)}')
    if header.get("version") != VERSION:
        found = shown(header.get("version"))
        raise ValueError(f"{name}: a trace of version {found}; this minillm reads version {VERSION}, record it again")
    try:
        check(header)
    except ValueError as problem:
        raise ValueError(f"{name}, line 1: {problem}") from None


def _check_line(line: Line, number: int, states: States, clock: str) -> None:
    """Raise ValueError if a line contradicts those before it in what the fold of the states does not read."""
    match line["t"]:
        case "header":
            raise ValueError("a second header")
        case "pass" if line["model"] == 0 and any(row["phase"] == "draft" for row in line["rows"]):
            raise ValueError("model 0 is the model that answers, and it drafts")
        case "pass" if any((name in line) != (clock == "seconds") for name in ("began", "took")):
            raise ValueError(f"the clock counts {clock}; expected times in each pass if it counts seconds, else none")
        case "model" if len(line["config"]["sliding_windows"]) != line["config"]["num_hidden_layers"]:
            raise ValueError("model.config.sliding_windows: expected an item for each layer")
        case "admit" if (line["capacity"] is None) == (line["kind"] == "contiguous"):
            raise ValueError("admit.capacity: expected an integer for a contiguous cache, else null")
        case "verdict" if line["then"] == "corrected" and not line["tokens"]:
            raise ValueError("verdict.tokens: expected the draft token that was corrected; found none")
        case "attention":
            _check_attention(line, states)
        case "end" if line["lines"] != number - 1:
            raise ValueError(f"the trace had {counted(line['lines'], 'line')} before its end; found {number - 1}")


def _check_attention(line: Line, states: States) -> None:
    config, queries = states.models[0]["config"], len(line["scales"])
    if line["layer"] >= config["num_hidden_layers"] or line["head"] >= config["num_attention_heads"]:
        raise ValueError("attention of a layer or a head that the model does not have")
    if line["id"] not in states.last["requests"]:
        raise KeyError(line["id"])
    try:
        data = base64.b64decode(line["weights"], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("attention.weights: expected base64") from None
    if len(data) != queries * (queries + 1) // 2:
        raise ValueError(f"attention.weights: expected {queries * (queries + 1) // 2} bytes; found {len(data)}")
