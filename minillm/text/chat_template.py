"""Chat templates: a conversation becomes the token ids that the model was trained on.

A template is a program from a stranger; `template_sandbox.py` runs it. Special tokens may come only from the
template's own text, never from a message. So a marker is put into each special token that a message spells, before
rendering, and the text between the unbroken ones is encoded as plain text. That leaves special tokens which a template
puts together, of a message's end and its own words, say, or by removing spaces. They are found by a second rendering
with a marker after every character of the messages, which none of them survives: where the two differ in their special
tokens, the second one counts. It alone would not do, since templates look for words in messages.
"""

import re
from typing import Any, Protocol, runtime_checkable

MARKER = "\ufdd0"  # a noncharacter: Unicode promises that no text uses it
ROLES = frozenset("system user assistant tool developer function ipython model".split())  # the caller's own words


@runtime_checkable
class TemplateTokenizer(Protocol):
    """What a template asks of a tokenizer.

    Attributes:
        special_tokens: ids by text.
        chat_template: the template's source; None if there is none.
        bos_token, eos_token: texts that the template may name.
    """

    special_tokens: dict[str, int]
    chat_template: str | None
    bos_token: str
    eos_token: str

    def encode(self, text: str) -> list[int]:
        """The ids of plain text, in which no special token is recognised."""

    def encode_with_special(self, text: str) -> list[int]:
        """The ids of text in which special tokens are recognised."""


def encode_chat(tokenizer: TemplateTokenizer, messages: list[dict[str, str]]) -> list[int]:
    """The token ids of a conversation, up to where the assistant's answer begins.

    Raises:
        ValueError: the messages or the template are wrong.
    """
    check_messages(messages)
    specials = sorted((text for text in tokenizer.special_tokens if text), key=len, reverse=True)
    spelled = re.compile("|".join(re.escape(text) for text in specials) or "(?!)")
    natural, safe = (
        _encode_rendered(tokenizer, render(tokenizer, _marked(messages, pattern)), spelled)
        for pattern in (spelled, re.compile(".", re.DOTALL))
    )
    control = set(tokenizer.special_tokens.values())
    same = [token for token in natural if token in control] == [token for token in safe if token in control]
    return natural if same else safe


def _marked(messages: list[dict[str, str]], pattern: re.Pattern[str]) -> list[dict[str, str]]:
    """The messages with a marker after the first character of each match."""

    def mark(text: str) -> str:
        return pattern.sub(lambda found: found[0][0] + MARKER + found[0][1:], text.replace(MARKER, "\ufffd"))

    return [
        {name: text if name == "role" and text in ROLES else mark(text) for name, text in message.items()}
        for message in messages
    ]


def _encode_rendered(tokenizer: TemplateTokenizer, rendered: str, spelled: re.Pattern[str]) -> list[int]:
    """Unmarked special tokens as themselves, everything between as plain text."""
    if MARKER not in rendered:
        return tokenizer.encode_with_special(rendered)
    ids: list[int] = []
    for piece in re.split(f"((?:{spelled.pattern})(?!{MARKER}))", rendered):
        special = tokenizer.special_tokens.get(piece)
        ids += [special] if special is not None else tokenizer.encode(piece.replace(MARKER, ""))
    return ids


def check_messages(messages: Any) -> None:
    """Raise ValueError unless this is a list of {"role": text, "content": text}, at least one."""
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages: expected a list of at least one {'role': ..., 'content': ...}")
    for message in messages:
        texts = isinstance(message, dict) and all(isinstance(t, str) for pair in message.items() for t in pair)
        if not texts or not {"role", "content"} <= message.keys():
            raise ValueError(f"messages: expected role and content, both text; found {str(message)[:80]}")


def render(tokenizer: TemplateTokenizer, messages: list[dict[str, str]]) -> str:
    """The template's text for these messages.

    Raises:
        ValueError: there is no template, or it fails.
    """
    from minillm.text.template_sandbox import SANDBOX

    if tokenizer.chat_template is None:
        raise ValueError("the model has no chat template: continue raw text instead")
    variables: dict[str, Any] = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token, "tools": None}
    variables |= {"documents": None, "messages": messages, "add_generation_prompt": True}
    try:
        return SANDBOX.render(tokenizer.chat_template, variables)
    except Exception as problem:  # a stranger's program may fail in any way
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise ValueError(f"the chat template failed: {reason}") from None
