"""Chat templates: turn a conversation into token ids, in the form that the model was trained on.

A template is a program from a stranger; `template_sandbox.py` runs it. Special tokens may come only from the
template's own text, never from a message. So the conversation is rendered twice, with a marker character (shown as *)
in the messages:

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

from minillm.text.encoder import Span

MARKER = "\ufdd0"  # a noncharacter of Unicode: not for use in text
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

    def find_special(self, text: str) -> list[Span]:
        """Return the special tokens that `text` spells: begin, end and the token."""

    def blank(self, text: str) -> str:
        """Return a text of the same length, with the same letters, spaces and signs, but without special tokens."""

    def encode_spans(self, text: str, spans: Sequence[Span]) -> list[int]:
        """Return the ids of a text in which only these special tokens count."""


def encode_chat(tokenizer: TemplateTokenizer, messages: list[dict[str, str]]) -> list[int]:
    """Return the token ids of a conversation, up to where the assistant's answer begins.

    Raises:
        ValueError: the messages have another form, there is no template, or it fails.
    """
    check_messages(messages)
    (text, spans), safe = (
        _without_markers(tokenizer, render(tokenizer, _marked(messages, mark)))
        for mark in (partial(_mark_special, tokenizer), partial(_mark_all, tokenizer))
    )
    if [token for *_, token in spans] != [token for *_, token in safe[1]]:
        text, spans = safe
    return tokenizer.encode_spans(text, spans)


def _marked(messages: list[dict[str, str]], mark: Callable[[str], str]) -> list[dict[str, str]]:
    """Return the messages with markers."""
    return [
        {
            name: text if name == "role" and text in ROLES else mark(text.replace(MARKER, "\ufffd"))
            for name, text in message.items()
        }
        for message in messages
    ]


def _mark_all(tokenizer: TemplateTokenizer, text: str) -> str:
    """Mark all characters, but spaces only if special tokens have some: templates strip messages."""
    spaces = re.search(r"\s", "".join(tokenizer.special_tokens))
    return re.sub("(.)" if spaces else r"(\S)", rf"\1{MARKER}", text, flags=re.DOTALL)


def _mark_special(tokenizer: TemplateTokenizer, text: str) -> str:
    parts, end = [], 0
    for begin, after, _ in tokenizer.find_special(text):
        parts += [text[end:begin], _mark_all(tokenizer, text[begin:after])]
        end = after
    return "".join([*parts, text[end:]])


def _without_markers(tokenizer: TemplateTokenizer, rendered: str) -> tuple[str, list[Span]]:
    """Return the text, and the special tokens in it that contain no marked character: those of the template."""
    blank = re.sub(f"(.){MARKER}", lambda found: tokenizer.blank(found[1]), rendered, flags=re.DOTALL)
    return rendered.replace(MARKER, ""), tokenizer.find_special(blank.replace(MARKER, ""))


def check_messages(messages: Any) -> None:
    """Raise ValueError unless `messages` is a list of at least one {"role": text, "content": text}."""
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages: expected a list of at least one {'role': ..., 'content': ...}")
    for message in messages:
        texts = isinstance(message, dict) and all(isinstance(t, str) for pair in message.items() for t in pair)
        if not texts or not {"role", "content"} <= message.keys():
            raise ValueError(f"messages: expected role and content, both of type str; found {str(message)[:80]}")


def render(tokenizer: TemplateTokenizer, messages: list[dict[str, str]]) -> str:
    """Return the text that the template makes of these messages.

    Raises:
        ValueError: there is no template, or it fails.
    """
    from minillm.text.template_sandbox import SANDBOX

    if tokenizer.chat_template is None:
        raise ValueError("the model has no chat template, which messages need; pass a text to continue instead")
    variables: dict[str, Any] = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token, "tools": None}
    variables |= {"documents": None, "messages": messages, "add_generation_prompt": True}
    try:
        return SANDBOX.render(tokenizer.chat_template, variables)
    except Exception as problem:  # a stranger's program can fail in any way
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise ValueError(f"the chat template failed: {reason}") from None
