"""Messages: a conversation as clients write it, in one form for every chat template.

    as a client may write it                                          as the template sees it
    {"role": "user", "content": [{"type": "text", "text": "Hi"}]}     {"role": "user", "content": "Hi"}
    {"role": "user", "content": "Hi", "name": null}                   {"role": "user", "content": "Hi"}
    {"role": "developer", "content": "Be kind."}                      {"role": "system", "content": "Be kind."}
    {"role": "assistant", "content": null, "tool_calls": [...]}       {"role": "assistant", "tool_calls": [...]}

Null means "not given". Texts of one message are joined by line ends, as llama.cpp and vLLM join them. Other names, such
as `tool_call_id`, reach the template unchanged; one that it never reads is passed over with a warning.

If the last message is the assistant's, it is an answer that has begun. Then the model continues it: the rendered text
ends where that message ends. `Signs.end` finds the place.
"""

import json
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from minillm.support.checks import is_utf8

Message = dict[str, Any]
DEEPEST = 100  # levels of lists and objects in a message; Python limits the depth of calls that go through them
SHOWN = 5  # names in a warning
FIRST_SIGN = 0xFDD0  # 32 noncharacters of Unicode begin here
FORM = "messages: expected a list of at least one {'role': ..., 'content': ...}"


class Signs(NamedTuple):
    """Two characters that nothing in the conversation contains.

    Attributes:
        marker: put into messages by `chat_template.py`.
        end: put after the answer that has begun.
    """

    marker: str
    end: str


def free_signs(messages: Sequence[Message], *texts: str) -> Signs:
    """Return two characters that neither the messages nor the texts contain."""
    used = set(json.dumps(messages, ensure_ascii=False)).union(*texts)
    free = (chr(code) for code in range(FIRST_SIGN, sys.maxunicode + 1) if chr(code) not in used)
    return Signs(next(free), next(free))


def normal_messages(messages: Any) -> list[Message]:
    """Return the messages without null values, their contents as text. A second call changes nothing.

    Raises:
        ValueError: a message has no role, neither text nor a tool call, something other than text, or too many levels.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise ValueError(FORM)
    if not all(_has_depth(message, DEEPEST) for message in messages):
        raise ValueError(f"messages: expected at most {DEEPEST} levels of lists and objects in a message; found more")
    return [_normal_message(message) for message in messages]


def _has_depth(value: Any, most: int) -> bool:
    """Whether at most this number of lists and objects are inside each other."""
    if not isinstance(value, Mapping | list | tuple):
        return True
    parts = value.values() if isinstance(value, Mapping) else value
    return most > 0 and all(_has_depth(part, most - 1) for part in parts)


def _normal_message(message: Any) -> Message:
    found = f"found {str(message)[:80]}"
    if not isinstance(message, Mapping) or not all(isinstance(name, str) for name in message):
        raise ValueError(f"messages: expected role and content, both of type str; {found}")
    given = {name: value for name, value in message.items() if value is not None}
    if not isinstance(given.get("role"), str):
        raise ValueError(f"messages: expected role and content, both of type str; {found}")
    if "content" in given:
        given["content"] = _text(given["content"])
    elif not given.get("tool_calls") and not given.get("function_call"):
        raise ValueError(f"messages: expected content, a text, or tool_calls; {found}")
    try:
        text = json.dumps(given, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError):
        raise ValueError(f"messages: expected values that JSON can express; {found}") from None
    if not is_utf8(text):
        raise ValueError("messages: a text contains half a surrogate pair, which UTF-8 cannot encode; remove it")
    return given


def _text(content: Any) -> str:
    """Return the text of a content: a text, or a list of parts of type "text"."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise ValueError(f"messages: expected content of type str, or a list of its parts; found {str(content)[:80]}")
    return "\n".join(_text_of_part(part) for part in content)


def _text_of_part(part: Any) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind != "text":
        found = f"type {str(kind)[:40]!r}" if kind is not None else str(part)[:80]
        raise ValueError(f"messages: a part of content is {found}; expected text, which is all that minillm reads")
    if not isinstance(part.get("text"), str):
        raise ValueError(f"messages: expected a text in each part of type 'text'; found {str(part)[:80]}")
    return str(part["text"])


def for_template(messages: Any, template: str) -> list[Message]:
    """Return the messages in their normal form. A developer is the system where the template knows no developers.

    Raises:
        ValueError: a wrong message, or a tool call at the end, where an answer would have to continue it.
    """
    normal = normal_messages(messages)
    if "developer" not in names_in(template):
        normal = [m | {"role": "system"} if m["role"] == "developer" else m for m in normal]
    if is_begun(normal) and "content" not in normal[-1]:
        raise ValueError("messages: the last one is a tool call; expected its result after it")
    return normal


def warn_of_unread(
    messages: Sequence[Message], names: frozenset[str], text: str, render: Callable[[list[Message]], str]
) -> None:
    """Issue one warning of the names that change nothing in the text.

    The id of a call is left out: alone it says nothing to a model.

    Args:
        messages: in their normal form.
        names: the words of the template; it may read these names.
        text: what the template makes of the messages.
        render: gives the text of other messages.
    """
    used = dict.fromkeys(name for message in messages for name, value in message.items() if value not in ([], {}))
    unknown = [name for name in used if name not in names and name != "tool_call_id"]
    if unknown and not _reads(unknown, messages, text, render):
        shown = ", ".join(repr(name[:40]) for name in unknown[:SHOWN]) + (", ..." if unknown[SHOWN:] else "")
        warnings.warn(f"the chat template does not read {shown} of the messages", stacklevel=5)


def _reads(
    unknown: Sequence[str], messages: Sequence[Message], text: str, render: Callable[[list[Message]], str]
) -> bool:
    left_out = frozenset(unknown)
    without = [{name: value for name, value in message.items() if name not in left_out} for message in messages]
    try:
        return text != render(without)
    except ValueError:  # a template that fails without them reads them
        return True


def names_in(template: str) -> frozenset[str]:
    """Return the words of a template: among them each name that it reads of a message. All read role and content."""
    return frozenset(re.findall(r"\w+", template)) | {"role", "content"}


def is_begun(messages: Sequence[Message]) -> bool:
    """Whether the last message is an answer that the model is to continue."""
    return bool(messages[-1]["role"] == "assistant")


def with_end(messages: Sequence[Message], end: str) -> list[Message]:
    """Return the messages with `end` after the answer that has begun, and a space that shows whether it is trimmed."""
    return [*messages[:-1], messages[-1] | {"content": messages[-1]["content"] + end + " "}]


def before_end(rendered: str, signs: Signs) -> str:
    """Return the rendered text up to the end sign. A template that trims messages has trimmed this one too.

    Raises:
        ValueError: the template left the message out.
    """
    before, end, after = rendered.rpartition(signs.end)
    if not end:
        raise ValueError("the chat template leaves out the answer that the last message begins; end with a question")
    return before if after.startswith(" ") else _trimmed(before, signs.marker)


def _trimmed(text: str, marker: str) -> str:
    """Return the text without the spaces at its end, marked or not. A pattern is fast only from a fixed place on."""
    spaces = re.match(f"(?:{marker}?\\s)*+", text[::-1])
    return text[: len(text) - spaces.end()] if spaces else text
