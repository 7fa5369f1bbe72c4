"""The prompts of a batch: one JSON object per line, `{"prompt": "...", "max_new_tokens": 20}`.

A line has either `prompt`, a text or token ids, or `messages`, a conversation. It may have `id`, which is copied to the
answer, and any of `OPTIONS`, which override the options of the whole batch for this line. Names of other programs and
lines of OpenAI's batch format are understood too (`serving/request_fields.py`).
"""

import codecs
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm.sampling import Sampling
from minillm.serving.request_fields import normal_fields, with_do_sample
from minillm.support.checks import check_integer
from minillm.support.files import parse_json, read_ordinary_file
from minillm.text.messages import Message, normal_messages

# A parsed line can take 30 times the memory of its text, so a few large files would fill any machine.
LARGEST, MOST_LINES, LONGEST_LINE = 200_000_000, 1_000_000, 4_000_000  # bytes, lines, bytes
OPTIONS = (
    "max_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "seed",
    "stop",
    "ignore_eos",
    "logprobs",
)
KNOWN = ("prompt", "messages", "id", "model", *OPTIONS)


@dataclass(frozen=True)
class PromptLine:
    """One line that can be answered.

    Attributes:
        number: of the line, from 1.
        id: of the line; None if it has none.
        prompt: a text, token ids, or a conversation.
        max_new_tokens: the most tokens to add; None means that the context and a default decide.
        sampling: how tokens are chosen.
        model: the model that the line names; None if it names none.
    """

    number: int
    id: str | int | None
    prompt: str | list[int] | list[Message]
    max_new_tokens: int | None
    sampling: Sampling
    model: str | None = None


def read_lines(source: str) -> list[tuple[int, bytes]]:
    """Return all lines that are not blank, with their numbers from 1; the source `-` is standard input.

    Raises:
        ValueError: the file does not exist, or it has more than 200 megabytes or more than a million lines.
        OSError: the file cannot be read, or is not an ordinary file.
    """
    name = "standard input" if source == "-" else source
    if source == "-":
        data = sys.stdin.buffer.read(LARGEST + 1) if sys.stdin is not None else b""
        if len(data) > LARGEST:
            raise ValueError(f"{name}: expected at most {LARGEST} bytes, found more; split the input")
    else:
        if not Path(source).exists():
            raise ValueError(f"there is no file {source}")
        data = read_ordinary_file(Path(source), LARGEST)
    if data.count(b"\n") > MOST_LINES:
        raise ValueError(f"{name}: expected at most {MOST_LINES} lines, found more; split the input")
    lines = data.removeprefix(codecs.BOM_UTF8).split(b"\n")
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def parse_line(number: int, line: bytes, max_new_tokens: int | None, sampling: Sampling) -> PromptLine:
    """Parse one line; `max_new_tokens` and `sampling` are the defaults for what the line leaves out.

    Raises:
        ValueError: the line is not a valid prompt.
    """
    if len(line) > LONGEST_LINE:
        raise ValueError(f"{len(line)} bytes; expected at most {LONGEST_LINE}")
    values = parse_json(line)
    if not isinstance(values, dict):
        raise ValueError(f'expected an object such as {{"prompt": "Hello"}}, found {line.decode().strip()[:40]!r}')
    values = with_do_sample(normal_fields(values, KNOWN), sampling.temperature)
    given = {name: values[name] for name in OPTIONS if name in values}
    new_tokens = given.pop("max_new_tokens", max_new_tokens)
    return PromptLine(
        number=number,
        id=_checked_id(values.get("id")),
        prompt=_prompt(values),
        max_new_tokens=None if new_tokens is None else check_integer("max_new_tokens", new_tokens, 1),
        sampling=dataclasses.replace(sampling, **given),
        model=_checked_model(values.get("model")),
    )


def _prompt(values: dict[str, Any]) -> str | list[int] | list[Message]:
    if ("prompt" in values) == ("messages" in values):
        raise ValueError('expected one of "prompt" and "messages"')
    if "messages" in values:
        return normal_messages(values["messages"])
    prompt = values["prompt"]
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]  # OpenAI's list of prompts, with one
    if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
        return prompt
    if not isinstance(prompt, str):
        raise ValueError("prompt: expected one text, or a list of token ids")
    return prompt


def _checked_id(value: Any) -> str | int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise ValueError("id: expected a text or an integer")
    return value


def _checked_model(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("model: expected a name")
    return value
