"""What a template may spend, and where it does: everything that makes or repeats something passes through a meter.

Python's own code cannot be interrupted while it prints, compares or hashes a value, and twenty nested lists of two can
stand for a million entries: so a value is weighed before. `template_sandbox.py` has the filters named here.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import nodes
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

ALLOWANCE = 50_000_000  # characters made by one rendering, or list entries looked at
LARGEST = 2_000_000  # of these at a time, and characters of the output
ENTRY = 10  # a new list's entry takes the memory of some ten characters
SECONDS = 2.0  # of processor time


class Meter:
    """What is left of a rendering's allowance."""

    def __init__(self) -> None:
        """Everything."""
        self.left, self.end = ALLOWANCE, time.thread_time() + SECONDS

    def spend(self, amount: int = 1) -> None:
        """Called before a thing of this size is made."""
        self.left -= amount
        if amount > LARGEST or self.left < 0 or time.thread_time() > self.end:
            raise ValueError("it runs too long or makes too much text")

    def items(self, values: Iterable[Any]) -> Iterator[Any]:
        """The same values, each one spent for."""
        for value in values:
            self.spend()
            yield value

    def weigh(self, value: Any) -> int:
        """Spend for all that Python walks through to print, compare or hash a value; returns how much that is."""
        weight = self._weight(value, {})
        self.spend(weight)
        return weight

    def _weight(self, value: Any, known: dict[int, int]) -> int:
        """A part that occurs often counts as often, but is looked at only once."""
        if isinstance(value, Namespace):
            raise ValueError("a namespace cannot be printed or compared")
        if not isinstance(value, list | tuple | dict):
            return 1 + (len(value) if isinstance(value, str) else 0)
        if id(value) not in known:
            parts = [*value, *value.values()] if isinstance(value, dict) else value
            self.spend(len(parts))
            known[id(value)] = 1 + sum(self._weight(part, known) for part in parts)
        return known[id(value)]


def size(value: Any) -> int:
    """The memory that a value takes without its parts, in characters; 1 for a number."""
    return len(value) * (1 if isinstance(value, str) else ENTRY) if isinstance(value, str | list | tuple | dict) else 1


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

    def visit_List(self, node: nodes.Expr) -> nodes.Node:
        """A list, tuple or dictionary is made, unless names are set: `{% set a, b = x %}`."""
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") == "store" else through("meter_copy", node)

    visit_Tuple = visit_Dict = visit_List

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:
        """A dictionary's key is hashed."""
        self.generic_visit(node)
        node.key = through("meter_weigh", node.key)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        """Comparing walks through both sides."""
        self.generic_visit(node)
        node.expr = through("meter_weigh", node.expr)
        for operand in node.ops:
            operand.expr = through("meter_weigh", operand.expr)
        return node

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
