"""Chat templates: turn a conversation into token ids, in the form that the model was trained on.

A template is a program from a stranger; `template_sandbox.py` runs it. Special tokens may come only from the
template's own text, never from a message. So the conversation is rendered twice, with a marker character (shown as *)
in the messages:

    message           a<|im_end|>b
    natural marking   a<*|im_end|>b                   after the first character of each special token it spells
    safe marking      a*<*|*i*m*_*e*n*d*|*>*b*        after every character

In the rendered text, special tokens without a marker become their ids. The text between them is encoded as plain text,
without its markers. The natural rendering is used if both have the same special tokens, and the safe one otherwise.

Natural marking is not enough: a template can join "<|im_" of its own and "end|>" of a message, or remove the spaces of
"< |im_end|>". No such token survives safe marking. Safe marking is not enough either: templates search messages for
words such as "</think>", which safe marking breaks.
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from minillm.text.messages import (
    END,
    MARKER,
    Message,
    before_end,
    for_template,
    is_begun,
    names_in,
    warn_of_unread,
    with_end,
)

ROLES = frozenset("system user assistant tool developer function ipython model".split())  # never marked


@runtime_checkable
class TemplateTokenizer(Protocol):
    """The parts of a tokenizer that a chat template needs.

    Attributes:
        special_tokens: the id of each special token, by its text.
        chat_template: the template's source, or None.
        bos_token, eos_token: texts that the template can name.
    """

    special_tokens: dict[str, int]
    chat_template: str | None
    bos_token: str
    eos_token: str

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text: special tokens in it are ordinary text."""

    def encode_with_special(self, text: str) -> list[int]:
        """Return the ids of text in which special tokens become their ids."""


def encode_chat(tokenizer: TemplateTokenizer, messages: Sequence[Any]) -> list[int]:
    """Return the token ids of a conversation, up to where the assistant's answer begins, or goes on if it has begun.

    Raises:
        ValueError: the messages have another form, there is no template, or it fails.
    """
    template = tokenizer.chat_template
    if template is None:
        raise ValueError("the model has no chat template, which messages need; pass a text to continue instead")
    chat, names = for_template(messages, template), names_in(template)
    warn_of_unread(chat, lambda messages: render(tokenizer, messages))
    specials = sorted((text for text in tokenizer.special_tokens if text), key=len, reverse=True)
    spelled = re.compile("|".join(re.escape(text) for text in specials) or "(?!)")
    natural, safe = (
        _encode_rendered(tokenizer, render(tokenizer, _marked(chat, pattern, names)), spelled)
        for pattern in (spelled, re.compile(".", re.DOTALL))
    )
    control = set(tokenizer.special_tokens.values())
    same = [token for token in natural if token in control] == [token for token in safe if token in control]
    return natural if same else safe


def _marked(messages: list[Message], pattern: re.Pattern[str], names: frozenset[str]) -> list[Message]:
    """Return the messages with a marker after the first character of each match of `pattern`.

    Names that the template reads are left, so that it finds them, and roles and types, so that it can compare them.
    """

    def mark(value: Any) -> Any:
        if isinstance(value, str):
            text = re.sub(f"[{MARKER}{END}]", "\ufffd", value)
            return pattern.sub(lambda found: found[0][0] + MARKER + found[0][1:], text)
        if isinstance(value, dict):
            return {name if name in names else mark(name): mark_named(name, value[name]) for name in value}
        return [mark(item) for item in value] if isinstance(value, list | tuple) else value

    def mark_named(name: str, value: Any) -> Any:
        return value if name in ("role", "type") and value in ROLES else mark(value)

    return [mark(message) for message in messages]


def _encode_rendered(tokenizer: TemplateTokenizer, rendered: str, spelled: re.Pattern[str]) -> list[int]:
    """Return the ids of special tokens without a marker, and of the text between them as plain text."""
    if MARKER not in rendered:
        return tokenizer.encode_with_special(rendered)
    ids: list[int] = []
    for part in re.split(f"((?:{spelled.pattern})(?!{MARKER}))", rendered):
        special = tokenizer.special_tokens.get(part)
        ids += [special] if special is not None else tokenizer.encode(part.replace(MARKER, ""))
    return ids


def render(tokenizer: TemplateTokenizer, messages: list[Message]) -> str:
    """Return the text that the template makes of these messages.

    A message without content is a tool call. A template that fails without content gets an empty one.

    Raises:
        ValueError: the template fails.
    """
    try:
        return _render(tokenizer, messages)
    except ValueError:
        if all("content" in message for message in messages):
            raise
    return _render(tokenizer, [{"content": "", **message} for message in messages])


def _render(tokenizer: TemplateTokenizer, messages: list[Message]) -> str:
    from minillm.text.template_sandbox import SANDBOX

    begun = is_begun(messages)
    variables: dict[str, Any] = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token, "tools": None}
    variables |= {"documents": None, "messages": with_end(messages) if begun else messages}
    variables |= {"add_generation_prompt": not begun}
    try:
        text = SANDBOX.render(tokenizer.chat_template or "", variables)
    except Exception as problem:  # a stranger's program can fail in any way
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise ValueError(f"the chat template failed: {reason}") from None
    return before_end(text) if begun else text
