"""Handles: how caches, states and functions are passed between the two sides of a test.

The engine's side keeps its caches and saved states. The side of the properties knows only their numbers: a `Handle`. In
a process of its own, the engine gets values as `wire.pack` sends them. There a handle is `{"<handle>": 3}`, and a
function, such as `draw` of `sample`, is `{"<function>": 0}`: the engine's side asks for its results.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

HANDLE, FUNCTION = "<handle>", "<function>"


@dataclass(frozen=True)
class Handle:
    """A cache or a saved state of the engine.

    Attributes:
        number: its number in the engine's side. Numbers are not used twice in one example.
        name: how it is shown in a counterexample.
    """

    number: int
    name: str = ""


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a copy of nested lists, tuples and dicts in which every other value is changed."""
    if type(value) in (list, tuple):
        return type(value)(replaced(item, change) for item in value)
    if type(value) is dict:
        return {key: replaced(item, change) for key, item in value.items()}
    return change(value)


def encoded(value: Any, functions: list[Callable[..., Any]]) -> Any:
    """Return the value with numbers in place of handles and functions. The functions are appended to the list."""

    def change(leaf: Any) -> Any:
        if isinstance(leaf, Handle):
            return {HANDLE: leaf.number}
        if callable(leaf):
            functions.append(leaf)
            return {FUNCTION: len(functions) - 1}
        return leaf

    return replaced(value, change)


def decoded(value: Any, function: Callable[[int], Callable[..., Any]]) -> Any:
    """Return the value with handles and functions again. `function` returns the function with a number."""
    if type(value) is dict and HANDLE in value:
        return Handle(value[HANDLE])
    if type(value) is dict and FUNCTION in value:
        return function(value[FUNCTION])
    if type(value) is dict:
        return {key: decoded(item, function) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(decoded(item, function) for item in value)
    return value
