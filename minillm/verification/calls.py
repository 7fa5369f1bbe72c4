"""Calls of an engine as values: a counterexample is a list of them. It can be shown, and made again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minillm.verification.handles import Handle


@dataclass(frozen=True)
class Call:
    """One call of a function of an engine.

    Attributes:
        name: the function.
        arguments: its arguments, with handles for caches.
        returns: what it returns; see `EngineUnderTest.call`.
        handles: the caches that it returns.

    Example:
        >>> print(Call("fork", (Handle(0, "a"),), "cache", [Handle(1, "b")]))
        b = fork(a)
    """

    name: str
    arguments: tuple[Any, ...]
    returns: str | None = None
    handles: Sequence[Handle] = ()

    @property
    def result(self) -> Any:
        """The handles that the call returns: one, or a list, or None."""
        if self.returns == "cache":
            return self.handles[0]
        return list(self.handles) if self.returns == "caches" else None

    def __str__(self) -> str:
        """Return the call as a line of Python."""
        results = ", ".join(handle.name for handle in self.handles)
        arguments = ", ".join(map(shown, self.arguments))
        return f"{results} = {self.name}({arguments})" if results else f"{self.name}({arguments})"


def shown(value: Any) -> str:
    """Return an argument as Python. Caches have their names, and functions, too."""
    if isinstance(value, Handle):
        return value.name
    if type(value) is list:
        return f"[{', '.join(map(shown, value))}]"
    if type(value) is tuple:
        return f"({', '.join(map(shown, value))}{',' * (len(value) == 1)})"
    if hasattr(value, "tolist"):
        return shown(value.tolist())
    return getattr(value, "__name__", "function") if callable(value) else repr(value)
