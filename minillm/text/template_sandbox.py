"""A jinja2 sandbox in which a stranger's template cannot run for long or fill the memory.

jinja2's own sandbox hides Python's internals, but lets a template loop without end or ask for `'x' * 10**10`. Here
everything that makes or repeats something is metered: loop items, calls, filters, operators, slices, lists and printed
text spend from one allowance of characters and of processor time (`template_meter.py`). Only the filters and methods
that chat templates use are there, and no format strings, whose widths would escape the meter. What remains: one
straight run of a template's own expressions, without loop or call, is not interrupted; its length is limited by the
template's.
"""

import json
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, ValuesView
from datetime import datetime
from functools import lru_cache, partial, update_wrapper
from types import CodeType
from typing import Any, NoReturn

from jinja2 import nodes, pass_context
from jinja2.compiler import CodeGenerator
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import do_round, do_sort
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from minillm.text.template_meter import ALLOWANCE, LARGEST, Meter, MeterEverything, size

LONGEST_TEMPLATE = 50_000
MOST_NODES = 10_000  # expressions and statements of a template
LARGEST_NUMBER = 2**1000
FILTERS = (
    "abs capitalize count d default dictsort e escape first float int items last length list lower map max min "
    "reject rejectattr reverse round safe select selectattr title trim unique upper".split()
)
# Filters and tests that only hand parts of a value on, or look at its kind: what they are given need not be weighed.
LIGHT = frozenset(
    "boolean callable count d default defined false first float integer iterable items last length list map mapping "
    "none number reject rejectattr reverse select selectattr sequence string true undefined".split()
)
METHODS = frozenset(
    "capitalize count endswith find get index isalnum isalpha isdigit isnumeric isspace items join keys lower lstrip "
    "partition removeprefix removesuffix replace rfind rpartition rsplit rstrip split splitlines startswith strip "
    "title upper values".split()
)


class Generation(Extension):
    """`{% generation %}` marks the assistant's words for training; nothing changes."""

    tags = {"generation"}  # noqa: RUF012 (as jinja2 spells it)

    def parse(self, parser: Parser) -> nodes.Node:
        """Its body, in a scope of its own."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class MeteredGenerator(CodeGenerator):
    """Translates to Python; for nested loops jinja2 looks at the innermost ones again and again."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """Called for each node."""
        assert isinstance(self.environment, MeteredEnvironment)
        self.environment.meter.spend()
        return super().visit(node, *args, **kwargs)


class MeteredEnvironment(ImmutableSandboxedEnvironment):
    """An environment for one rendering."""

    code_generator_class = MeteredGenerator
    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "**", "%"])

    def __init__(self) -> None:
        """With what transformers offers its chat templates."""
        extensions = [loopcontrols, Generation]
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=extensions, optimized=False)
        self.meter = Meter()
        own: dict[str, Callable[..., Any]] = {"meter_items": self.meter.items, "meter_copy": self._paid}
        own |= {"meter_weigh": self._weighed, "list": lambda values: list(self.meter.items(values))}
        own["sort"] = self._sort
        own |= {"string": self._string, "tojson": self._to_json, "join": self._join, "replace": self._replace}
        self.filters["round"] = self._round
        self.filters = {name: self._metered(name, self.filters[name]) for name in FILTERS}
        self.filters |= {name: pass_context(_without_context(run)) for name, run in own.items()}
        self.tests |= {"odd": lambda n: self._rest(n, 2) == 1, "even": lambda n: self._rest(n, 2) == 0}
        self.tests["divisibleby"] = lambda n, divisor: self._rest(n, divisor) == 0
        self.tests = {name: self._metered(name, test) for name, test in self.tests.items()}
        self.globals = {"range": self.globals["range"], "namespace": Namespace}
        self.globals["dict"] = lambda *args, **kwargs: dict(*args, **kwargs)  # the type itself has other methods
        self.globals |= {"raise_exception": self._refuse, "strftime_now": self._now}

    def render(self, source: str, variables: dict[str, Any]) -> str:
        """The template's text. Anything may be raised: it is a stranger's program."""
        if len(source) > LONGEST_TEMPLATE:
            raise ValueError(f"it has {len(source)} characters; expected at most {LONGEST_TEMPLATE}")
        code = compiled(source)
        text = self.template_class.from_code(self, code, self.globals.copy()).render(variables)
        if len(text) > LARGEST:
            raise ValueError(f"it makes {len(text)} characters; expected at most {LARGEST}")
        return text

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call in a template: a macro, a global function, or a method of a text, list or object."""
        owner: Any = getattr(function, "__self__", None)
        name = str(getattr(function, "__name__", ""))
        self.meter.spend(1 + size(args) + size(kwargs))
        if isinstance(owner, str | int | float | list | tuple | dict) or name in ("format", "format_map"):
            if name not in METHODS:
                raise ValueError(f"method {name[:40]!r} is not supported")
            if name == "join":
                return self._join(args[0], owner)
            if name == "replace":
                return self._replace(owner, *args)
        if not isinstance(function, Macro):  # whose own expressions are metered
            searched = owner if isinstance(owner, str | list | tuple) else None
            self._weigh_for_search(searched, *args, *kwargs.values())
        return self._paid(super().call(context, function, *args, **kwargs))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """What is looked up is hashed."""
        return super().getitem(obj, self._weighed(argument))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Spend for what `+` and `*` make; numbers stay small."""
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if numbers and max(abs(left), abs(right)) > LARGEST_NUMBER:
            raise ValueError("a number is too large")
        if operator == "%" and not numbers:
            raise ValueError("format strings are not supported")
        if operator == "**" and not (numbers and abs(left) < 2**64 and abs(right) < 64):
            raise ValueError("a power is too large")
        if operator == "*" and not numbers:
            count = min(n for n in (left, right, ALLOWANCE + 1) if isinstance(n, int))
            self.meter.spend(max(0, count) * max(size(left), size(right)))
        if operator == "+":
            self.meter.spend(size(left) + size(right))
        return super().call_binop(context, operator, left, right)

    def _metered(self, name: str, function: Any) -> Callable[..., Any]:
        spend = self._spend_for if name in LIGHT else self._weigh_for
        return update_wrapper(partial(spend, function), function)  # keeps jinja2's marks on it

    def _spend_for(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.meter.spend()
        return self._paid(function(*args, **kwargs))

    def _weigh_for(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._weigh_for_search(*args, *kwargs.values())
        return self._paid(function(*args, **kwargs))

    def _weigh_for_search(self, searched: Any, *sought: Any) -> None:
        """Spend for `searched.strip(sought)` and the like, which may compare every part with every part."""
        weight = self.meter.weigh(searched)
        self.meter.spend(weight * sum(self.meter.weigh(value) for value in sought) // 100)  # a hundred at a time

    def _paid(self, made: Any) -> Any:
        """Spend for a new value. One that is still to be made, like `x | map('lower')`, is made here, as a list."""
        if isinstance(made, Iterator | KeysView | ValuesView | ItemsView):
            return list(self.meter.items(made))
        self.meter.spend(size(made))
        return made

    def _weighed(self, value: Any) -> Any:
        self.meter.weigh(value)
        return value

    def _string(self, value: Any) -> str:
        return str(self._weighed(value))

    def _to_json(self, value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None,
                 sort_keys: bool = False) -> str:  # fmt: skip
        if indent is not None and indent not in range(17):
            raise ValueError("tojson: expected an indent of at most 16")
        self.meter.weigh(value)
        form = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
        return "".join(self._string(piece) for piece in form.iterencode(value))  # deep lines begin with many spaces

    def _join(self, values: Iterable[Any], between: str = "", attribute: str | None = None) -> str:
        parts = [self._string(v if attribute is None else self.getattr(v, attribute)) for v in self.meter.items(values)]
        between = self._string(between)
        self.meter.spend(len(parts) * len(between))
        return between.join(parts)

    def _replace(self, text: Any, old: str, new: str, count: int = -1) -> str:
        text = self._string(text)
        self.meter.spend(text.count(old) * len(new) + len(text))
        return text.replace(old, new, count)

    def _sort(self, values: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        return do_sort(self, [self._weighed(value) for value in self.meter.items(values)], *args, **kwargs)

    def _round(self, number: Any, precision: int = 0, method: Any = "common") -> Any:
        if not isinstance(number, int | float) or abs(precision) > 20:
            raise ValueError("round: expected a number and at most 20 digits")
        return do_round(number, precision, method)

    def _rest(self, number: Any, divisor: Any) -> Any:
        return self.call_binop(None, "%", number, divisor)

    def _refuse(self, message: object) -> NoReturn:
        """What templates call to refuse a conversation."""
        raise ValueError(self._string(message))

    def _now(self, form: object) -> str:
        text = self._string(form)
        if len(text) > 200:  # each `%255Y` makes 255 characters
            raise ValueError("strftime_now: expected at most 200 characters")
        return datetime.now().strftime(text)


def _without_context(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that takes the context is never run by jinja2's compiler, ahead of time and only once."""
    return lambda context, *args, **kwargs: function(*args, **kwargs)


@lru_cache(8)
def compiled(source: str) -> CodeType:
    """The template as metered Python code, which takes longer than running it."""
    environment = MeteredEnvironment()
    tree = environment.parse(source)
    if sum(1 for _ in tree.find_all(nodes.Node)) > MOST_NODES:
        raise ValueError(f"it has more than {MOST_NODES} expressions and statements")
    tree = MeterEverything().visit(tree)
    tree.set_environment(environment)
    code: CodeType = environment.compile(tree)
    return code
