"""The program that renders chat templates: jinja2 in its sandbox, with what transformers offers templates.

`child_script.py` runs it in a child process. A request is, for example,

    {"template": "{{ x }}!", "variables": {"x": "Hi"}, "characters": 100}

and its answer {"text": "Hi!"}.
"""

import json
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    """`{% generation %}` marks the assistant's words for training; the text stays the same."""

    tags = {"generation"}  # noqa: RUF012 (as jinja2 spells it)

    def parse(self, parser: Parser) -> nodes.Node:
        """Return the body of the block, in a scope of its own."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def to_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Return `value` as JSON. (jinja2's own filter writes "<" as "\\u003c", for HTML.)"""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: object) -> NoReturn:
    """Refuse the conversation; templates call this."""
    raise ValueError(message)


def strftime_now(form: str) -> str:
    """Return the local time in this form, for example "%d %b %Y"."""
    return datetime.now().strftime(form)


@lru_cache(8)
def compiled(source: str) -> Template:
    """Return the template as Python code, which takes longer to make than to run."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )
    environment.filters["tojson"] = to_json
    environment.globals |= {"raise_exception": raise_exception, "strftime_now": strftime_now}
    return environment.from_string(source)


def answer(request: dict[str, Any]) -> dict[str, str]:
    """Return {"text": ...} with at most `characters` characters.

    Raises:
        any exception: the template is a stranger's program and can fail in any way.
    """
    text = compiled(request["template"]).render(request["variables"])
    if len(text) > request["characters"]:
        raise ValueError(f"it makes {len(text)} characters; expected at most {request['characters']}")
    return {"text": text}
