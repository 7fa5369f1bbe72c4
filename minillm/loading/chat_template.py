"""Chat templates: a conversation becomes the token ids that the model was trained on.

A template is a program from a stranger. It runs in jinja2's immutable sandbox, which hides Python's internals, limits
`range`, and lets nothing be changed; the size of template, messages and output is limited here. What remains possible
is a template that takes long (nested loops): Ctrl-C ends it.

Special tokens may come only from the template's own text. So each one that a user typed is broken by a marker before
rendering; afterwards the text is cut at the unbroken ones, and the pieces between are encoded as plain text.
"""

import re
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from minillm.loading.tokenizer import Tokenizer

MARKER = "\ufdd0"  # a noncharacter: Unicode promises that no text uses it
LARGEST = 10_000_000


def encode_chat(tokenizer: "Tokenizer", messages: list[dict[str, str]]) -> list[int]:
    """The token ids of a conversation, up to where the assistant's answer begins.

    Raises:
        ValueError: the messages or the template are wrong.
    """
    check_messages(messages)
    specials = sorted((text for text in tokenizer.special_tokens if text), key=len, reverse=True)
    pattern = "|".join(re.escape(text) for text in specials)
    broken = [{name: _break(text, pattern) for name, text in message.items()} for message in messages]
    rendered = render(tokenizer, broken)
    if MARKER not in rendered or not pattern:
        return tokenizer.encode_with_special(rendered.replace(MARKER, ""))
    ids: list[int] = []
    for piece in re.split(f"({pattern})", rendered):
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


def _break(text: str, pattern: str) -> str:
    """Put a marker into every special token in a user's text, and around it, so that no edges join into one."""
    text = text.replace(MARKER, "\ufffd")
    broken = re.sub(pattern, lambda found: found[0][0] + MARKER + found[0][1:], text) if pattern else text
    return broken


def render(tokenizer: "Tokenizer", messages: list[dict[str, str]]) -> str:
    """The template's text for these messages.

    Raises:
        ValueError: there is no template, or it fails.
    """
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if tokenizer.chat_template is None:
        raise ValueError("the model has no chat template: continue raw text instead")
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    variables = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token, "tools": None}
    pieces, size = [], 0
    try:
        template = environment.from_string(tokenizer.chat_template)
        for piece in template.generate(messages=messages, add_generation_prompt=True, **variables):
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST:
                raise ValueError(f"its output is larger than {LARGEST} characters")
    except (
        TemplateError,
        ValueError,
        TypeError,
        ArithmeticError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as problem:
        raise ValueError(f"the chat template failed: {' '.join(str(problem).split())[:200]}") from None
    except MemoryError:
        raise ValueError("the chat template failed: it asks for too much memory") from None
    return "".join(pieces)


def _refuse(message: object) -> NoReturn:
    """What templates call to refuse a conversation."""
    raise ValueError(str(message))
