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
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

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

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text: special tokens in it are ordinary text."""

    def encode_with_special(self, text: str) -> list[int]:
        """Return the ids of text in which special tokens become their ids."""


def encode_chat(
    tokenizer: TemplateTokenizer, messages: list[dict[str, str]], check: Callable[[str], Any] = lambda text: None
) -> list[int]:
    """Return the token ids of a conversation, up to where the assistant's answer begins.

    Args:
        tokenizer: encodes, and has the template.
        messages: the conversation.
        check: called with each rendered text before it is encoded.

    Raises:
        ValueError: the messages have another form, there is no template, or it fails.
    """
    check_messages(messages)
    specials = sorted((text for text in tokenizer.special_tokens if text), key=len, reverse=True)
    spelled = re.compile("|".join(re.escape(text) for text in specials) or "(?!)")
    natural, safe = (
        _encode_rendered(tokenizer, render(tokenizer, _marked(messages, pattern)), spelled, check)
        for pattern in (spelled, re.compile(".", re.DOTALL))
    )
    control = set(tokenizer.special_tokens.values())
    same = [token for token in natural if token in control] == [token for token in safe if token in control]
    return natural if same else safe


def _marked(messages: list[dict[str, str]], pattern: re.Pattern[str]) -> list[dict[str, str]]:
    """Return the messages with a marker after the first character of each match of `pattern`."""

    def mark(text: str) -> str:
        return pattern.sub(lambda found: found[0][0] + MARKER + found[0][1:], text.replace(MARKER, "\ufffd"))

    return [
        {name: text if name == "role" and text in ROLES else mark(text) for name, text in message.items()}
        for message in messages
    ]


def _encode_rendered(
    tokenizer: TemplateTokenizer, rendered: str, spelled: re.Pattern[str], check: Callable[[str], Any]
) -> list[int]:
    """Return the ids of special tokens without a marker, and of the text between them as plain text."""
    check(rendered.replace(MARKER, ""))
    if MARKER not in rendered:
        return tokenizer.encode_with_special(rendered)
    ids: list[int] = []
    for part in re.split(f"((?:{spelled.pattern})(?!{MARKER}))", rendered):
        special = tokenizer.special_tokens.get(part)
        ids += [special] if special is not None else tokenizer.encode(part.replace(MARKER, ""))
    return ids


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
