"""A jinja2 sandbox in which a stranger's template cannot run for long or fill the memory.

jinja2's own sandbox hides Python's internals, but lets a template loop without end or ask for `'x' * 10**10`. Here
everything that makes or repeats something is metered: loop items, calls, filters, operators, slices and printed text
spend from one allowance of characters and of processor time. Only the filters and methods that chat templates use are
there, and no format strings, whose widths would escape the meter. What remains: one straight run of a template's own
expressions, without loop or call, is not interrupted; its length is limited by the template's.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import lru_cache, partial, update_wrapper
from types import CodeType
from typing import Any, NoReturn

from jinja2 import nodes, pass_context
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

ALLOWANCE = 50_000_000  # characters and list entries made by one rendering
SECONDS = 2.0  # of processor time
LONGEST_TEMPLATE = 200_000
LONGEST_OUTPUT = 2_000_000
FILTERS = (
    "abs capitalize count d default dictsort e escape first float int items last length list lower map max min "
    "reject rejectattr reverse round safe select selectattr sort title trim unique upper".split()
)
METHODS = frozenset(
    "capitalize count endswith find get index isalnum isalpha isdigit isnumeric isspace items join keys lower lstrip "
    "partition removeprefix removesuffix replace rfind rpartition rsplit rstrip split splitlines startswith strip "
    "title upper values".split()
)


class Meter:
    """What is left of a rendering's allowance."""

    def __init__(self) -> None:
        """Everything."""
        self.left, self.end = ALLOWANCE, time.thread_time() + SECONDS

    def spend(self, amount: int = 1) -> None:
        """Called before a thing of this size is made."""
        self.left -= amount
        if self.left < 0 or time.thread_time() > self.end:
            raise ValueError("it runs too long or makes too much text")

    def items(self, values: Iterable[Any]) -> Iterator[Any]:
        """The same values, each one spent for."""
        for value in values:
            self.spend()
            yield value

    def weigh(self, value: Any) -> Any:
        """Spend for printing a value: shared parts of lists are printed as often as they occur."""
        if isinstance(value, dict):
            for pair in value.items():
                self.weigh(pair)
        elif isinstance(value, list | tuple):
            for part in value:
                self.weigh(part)
        self.spend(1 + (len(value) if isinstance(value, str) else 0))
        return value


def size(value: Any) -> int:
    """How many entries or characters a value has; 1 for a number."""
    return len(value) if isinstance(value, str | list | tuple | dict) else 1


class MeterEverything(NodeTransformer):
    """Rewrites a parsed template: every loop, slice and piece of output passes through a filter that spends."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """`for x in y` becomes `for x in y | meter_items`."""
        if node.recursive:
            raise ValueError("recursive loops are not supported")
        self.generic_visit(node)
        node.iter = through("meter_items", node.iter)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        """A slice is a copy."""
        self.generic_visit(node)
        return through("meter_copy", node) if isinstance(node.arg, nodes.Slice) else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """`a ~ b` becomes `a | string + b | string`, since operators are metered."""
        self.generic_visit(node)
        joined, *others = [through("string", part) for part in node.nodes]
        for other in others:
            joined = nodes.Add(joined, other, lineno=node.lineno)
        return joined

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        """`{{ x }}`, and the text between."""
        self.generic_visit(node)
        node.nodes = [through("string", part) for part in node.nodes]
        return node


def through(name: str, node: Any) -> nodes.Expr:
    """The expression `node | name`."""
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class Generation(Extension):
    """`{% generation %}` marks the assistant's words for training; nothing changes."""

    tags = {"generation"}  # noqa: RUF012 (as jinja2 spells it)

    def parse(self, parser: Parser) -> nodes.Node:
        """Its body, in a scope of its own."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class MeteredEnvironment(ImmutableSandboxedEnvironment):
    """An environment for one rendering."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self) -> None:
        """With what transformers offers its chat templates."""
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation])
        self.meter = Meter()
        own: dict[str, Callable[..., Any]] = {"meter_items": self.meter.items, "meter_copy": lambda value: value}
        own |= {"string": self._string, "tojson": self._to_json, "join": self._join, "replace": self._replace}
        self.filters = {name: self._metered(self.filters[name]) for name in FILTERS}
        self.filters |= {name: self._metered(pass_context(_without_context(run))) for name, run in own.items()}
        self.globals = {name: self.globals[name] for name in ("range", "dict", "namespace")}
        self.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: datetime.now().strftime(str(form))}

    def render(self, source: str, variables: dict[str, Any]) -> str:
        """The template's text. Anything may be raised: it is a stranger's program."""
        if len(source) > LONGEST_TEMPLATE:
            raise ValueError(f"it has {len(source)} characters; expected at most {LONGEST_TEMPLATE}")
        code = compiled(source)
        text = self.template_class.from_code(self, code, self.globals.copy()).render(variables)
        if len(text) > LONGEST_OUTPUT:
            raise ValueError(f"it makes {len(text)} characters; expected at most {LONGEST_OUTPUT}")
        return text

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call in a template: a macro, a global function, or a method of a text, list or object."""
        owner: Any = getattr(function, "__self__", None)
        name = str(getattr(function, "__name__", ""))
        if isinstance(owner, str | int | float | list | tuple | dict) or name in ("format", "format_map"):
            if name not in METHODS:
                raise ValueError(f"method {name[:40]!r} is not supported")
            self.meter.spend(1 + size(owner))
            if name == "join":
                return self._join(args[0], owner)
            if name == "replace":
                return self._replace(owner, *args)
        self.meter.spend()
        result = super().call(context, function, *args, **kwargs)
        self.meter.spend(size(result))
        return result

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Spend for what `+` and `*` make; powers and products stay small numbers."""
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "%" and not numbers:
            raise ValueError("format strings are not supported")
        if operator == "**" and not (numbers and abs(left) < 2**64 and abs(right) < 64):
            raise ValueError("a power is too large")
        if operator == "*" and numbers and max(abs(left), abs(right)) > 2**1000:
            raise ValueError("a product is too large")
        if operator == "*" and not numbers:
            count = min(n for n in (left, right, ALLOWANCE + 1) if isinstance(n, int))
            self.meter.spend(max(0, count) * max(size(left), size(right)))
        if operator == "+":
            self.meter.spend(size(left) + size(right))
        return super().call_binop(context, operator, left, right)

    def _metered(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return update_wrapper(partial(self._spend_for, function), function)  # keeps jinja2's marks on it

    def _spend_for(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.meter.spend(1 + sum(size(value) for value in args))
        result = function(*args, **kwargs)
        self.meter.spend(size(result))
        return result

    def _string(self, value: Any) -> str:
        return str(self.meter.weigh(value))

    def _to_json(self, value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None,
                 sort_keys: bool = False) -> str:  # fmt: skip
        if indent is not None and indent not in range(17):
            raise ValueError("tojson: expected an indent of at most 16")
        self.meter.weigh(value)
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def _join(self, values: Iterable[Any], between: str = "", attribute: str | None = None) -> str:
        parts = [self._string(v if attribute is None else self.getattr(v, attribute)) for v in self.meter.items(values)]
        self.meter.spend(len(parts) * len(between))
        return str(between).join(parts)

    def _replace(self, text: Any, old: str, new: str, count: int = -1) -> str:
        text = str(text)
        self.meter.spend(text.count(old) * len(new) + len(text))
        return text.replace(old, new, count)


def _without_context(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that takes the context is never run by jinja2's optimizer, ahead of time and only once."""
    return lambda context, *args, **kwargs: function(*args, **kwargs)


def _refuse(message: object) -> NoReturn:
    """What templates call to refuse a conversation."""
    raise ValueError(str(message))


@lru_cache(8)
def compiled(source: str) -> CodeType:
    """The template as metered Python code, which takes longer than running it."""
    environment = MeteredEnvironment()
    tree = MeterEverything().visit(environment.parse(source))
    tree.set_environment(environment)
    code: CodeType = environment.compile(tree)
    return code
