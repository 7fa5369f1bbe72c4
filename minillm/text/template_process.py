"""The process in which chat templates are rendered: jinja2 in its sandbox, with what transformers offers templates.

`template_sandbox.py` runs this file as a script, `python -I -S template_process.py FOLDER ...`. So it imports jinja2,
but nothing of minillm. Each line of standard input is a request in JSON, for example

    {"template": "{{ x }}!", "variables": {"x": "Hi"}, "cpu_seconds": 2, "memory_bytes": 512000000, "characters": 100}

and each line of standard output is its answer: {"text": "Hi!"}, or {"error": "..."} if the template fails. A template
that needs more than `cpu_seconds` does not come to an answer: the system ends the process with SIGXCPU.
"""

import gc
import json
import math
import re
import resource
import sys
import time
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

if __name__ == "__main__":
    sys.path += sys.argv[1:]  # the folders of jinja2 and markupsafe, since -S leaves out site-packages

from jinja2 import Template, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

UNKNOWN = re.compile("No (filter|test) named|Encountered unknown tag")
MISSING = "; the sandbox has what jinja2 and transformers offer (tojson, break, continue, generation), and nothing else"


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
    """Return {"text": ...} or {"error": ...}."""
    used = math.ceil(time.process_time())  # RLIMIT_CPU counts whole seconds from the start of the process
    set_limit(resource.RLIMIT_CPU, used + request["cpu_seconds"])
    set_limit(resource.RLIMIT_AS, request["memory_bytes"])
    try:
        text = compiled(request["template"]).render(request["variables"])
    except MemoryError:
        compiled.cache_clear()
        gc.collect()
        return {"error": f"it needs more than {request['memory_bytes'] // 10**6} MB of memory"}
    except TemplateSyntaxError as problem:
        message = str(problem.message)[:500]
        return {"error": message.removesuffix(".") + MISSING if UNKNOWN.match(message) else message}
    except Exception as problem:  # a stranger's program can fail in any way
        return {"error": str(problem)[:1000] or type(problem).__name__}
    if len(text) > request["characters"]:
        return {"error": f"it makes {len(text)} characters; expected at most {request['characters']}"}
    return {"text": text}


def set_limit(kind: int, value: int) -> None:
    """Set a limit of the system as far as it allows that. The next request can set another value."""
    hard = resource.getrlimit(kind)[1]
    try:
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    except (ValueError, OSError):  # macOS refuses RLIMIT_AS
        pass


def serve() -> None:
    """Answer requests until the input ends, which also happens when the parent dies."""
    set_limit(resource.RLIMIT_CORE, 0)  # SIGXCPU would write a core file
    while line := sys.stdin.buffer.readline():
        sys.stdout.buffer.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
