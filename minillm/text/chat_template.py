"""Chat templates: turn a conversation into token ids, in the form that the model was trained on.

A template is a program from a stranger; `template_sandbox.py` runs it. Special tokens may come only from the
template's own text, never from a message. So the conversation is rendered twice, with a marker character (shown as *)
in the messages, which they do not contain themselves:

    message           a<|im_end|>b
    natural marking   a<*|*i*m*_*e*n*d*|*>*b          after each character of the special tokens that it spells
    safe marking      a*<*|*i*m*_*e*n*d*|*>*b*        after every character that is not a space

Special tokens of the rendered text in which no character is marked belong to the template. The text without markers
is encoded, and only those count. The natural rendering is used if both have the same special tokens, and the safe one
otherwise.

Natural marking is not enough: a template can join "<|im_" of its own and "end|>" of a message, or remove the spaces of
"< |im_end|>". No such token survives safe marking. Safe marking is not enough either: templates search messages for
words such as "</think>", which safe marking breaks.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

from minillm.support.checks import is_utf8
from minillm.text.encoder import Span
from minillm.text.messages import (
    Message,
    Signs,
    before_end,
    for_template,
    free_signs,
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
        named_tokens: texts that the template can name, such as {"bos_token": "<s>"}.
    """

    special_tokens: dict[str, int]
    chat_template: str | None
    named_tokens: dict[str, str]

    def find_special(self, text: str) -> list[Span]:
        """Return the special tokens that `text` spells: begin, end and the token."""

    def blank(self, text: str) -> str:
        """Return a text of the same length, with the same letters, spaces and signs, but without special tokens."""

    def encode_spans(self, text: str, spans: Sequence[Span]) -> list[int]:
        """Return the ids of a text in which only these special tokens count."""


def encode_chat(
    tokenizer: TemplateTokenizer, messages: Sequence[Any], check: Callable[[str], Any] = lambda text: None
) -> list[int]:
    """Return the token ids of a conversation, up to where the assistant's answer begins, or goes on if it has begun.

    Args:
        tokenizer: encodes, and has the template.
        messages: the conversation.
        check: called with each rendered text before it is encoded. A template may leave messages out. If it fails,
            `check` is called with the contents of all messages, joined: too long a text is the likeliest reason.

    Raises:
        ValueError: the messages have another form, there is no template, or it fails.
    """
    template = tokenizer.chat_template
    if template is None:
        raise ValueError("the model has no chat template, which messages need; pass a text to continue instead")
    chat, names = for_template(messages, template), names_in(template)
    signs = free_signs(chat, template, *tokenizer.named_tokens.values(), *tokenizer.special_tokens)
    try:
        plain = render(tokenizer, signs, chat)
    except ValueError:
        check("\n".join(message.get("content", "") for message in chat))
        raise
    check(plain)
    warn_of_unread(chat, names, plain, partial(render, tokenizer, signs))
    (text, spans), safe = (
        _without_markers(tokenizer, signs.marker, render(tokenizer, signs, _marked(chat, mark, names)), check)
        for mark in (partial(_mark_special, tokenizer, signs.marker), partial(_mark_all, tokenizer, signs.marker))
    )
    if [token for *_, token in spans] != [token for *_, token in safe[1]]:
        text, spans = safe
    return tokenizer.encode_spans(text, spans)


def _marked(messages: list[Message], mark: Callable[[str], str], names: frozenset[str]) -> list[Message]:
    """Return the messages with markers.

    Names that the template reads are left, so that it finds them, and roles and types, so that it can compare them.
    """

    def marked(value: Any) -> Any:
        if isinstance(value, str):
            return mark(value)
        if isinstance(value, dict):
            return {name if name in names else marked(name): marked_field(name, value[name]) for name in value}
        return [marked(item) for item in value] if isinstance(value, list | tuple) else value

    def marked_field(name: str, value: Any) -> Any:
        return value if name in ("role", "type") and value in ROLES else marked(value)

    return [marked(message) for message in messages]


def _mark_all(tokenizer: TemplateTokenizer, marker: str, text: str) -> str:
    """Mark all characters, but spaces only if special tokens have some: templates strip messages."""
    spaces = re.search(r"\s", "".join(tokenizer.special_tokens))
    return re.sub("(.)" if spaces else r"(\S)", rf"\1{marker}", text, flags=re.DOTALL)


def _mark_special(tokenizer: TemplateTokenizer, marker: str, text: str) -> str:
    parts, end = [], 0
    for begin, after, _ in tokenizer.find_special(text):
        parts += [text[end:begin], _mark_all(tokenizer, marker, text[begin:after])]
        end = after
    return "".join([*parts, text[end:]])


def _without_markers(
    tokenizer: TemplateTokenizer, marker: str, rendered: str, check: Callable[[str], Any]
) -> tuple[str, list[Span]]:
    """Return the text, and the special tokens in it that contain no marked character: those of the template."""
    text = rendered.replace(marker, "")
    check(text)
    blank = re.sub(f"(.){marker}", lambda found: tokenizer.blank(found[1]), rendered, flags=re.DOTALL)
    return text, tokenizer.find_special(blank.replace(marker, ""))


def render(tokenizer: TemplateTokenizer, signs: Signs, messages: list[Message]) -> str:
    """Return the text that the template makes of these messages.

    A message without content is a tool call. A template that fails without content gets an empty one.

    Raises:
        ValueError: the template fails.
    """
    try:
        return _render(tokenizer, signs, messages)
    except ValueError:
        if all("content" in message for message in messages):
            raise
    return _render(tokenizer, signs, [{"content": "", **message} for message in messages])


def _render(tokenizer: TemplateTokenizer, signs: Signs, messages: list[Message]) -> str:
    from minillm.text.child_process import NoProcess
    from minillm.text.template_sandbox import SANDBOX

    begun = is_begun(messages)
    variables: dict[str, Any] = {**tokenizer.named_tokens, "tools": None, "documents": None}
    variables |= {"messages": with_end(messages, signs.end) if begun else messages, "add_generation_prompt": not begun}
    try:
        text = SANDBOX.render(tokenizer.chat_template or "", variables)
        if not is_utf8(text):
            raise ValueError("it makes half a surrogate pair, which UTF-8 cannot encode")
    except NoProcess:
        raise
    except Exception as problem:  # a stranger's program can fail in any way
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise ValueError(f"the chat template failed: {reason}") from None
    return before_end(text, signs) if begun else text
