"""An engine in a process of its own, which may raise, refuse, crash or hang: each is one line that says so.

The process is that of `pytest --minillm-engine`. Its caches stay there, and have numbers here.
"""

from itertools import count
from typing import Any

from minillm.support.printable import one_line
from minillm.verification.adapter import Adapter
from minillm.verification.engine_process import LOAD_SECONDS, EngineProcess
from minillm.verification.handles import Handle


class ForeignEngine:
    """The functions of one engine.

    Attributes:
        name: how messages call it.
        adapter: what its file says of it.
    """

    def __init__(self, process: EngineProcess, adapter: Adapter, name: str, model: str) -> None:
        """Take the engine, or make it with the config and the weights of this model.

        Raises:
            ValueError: making it failed.
        """
        self.name, self.adapter = name, adapter
        self._process, self._numbers, self._dropped = process, count(), list[int]()
        begin = {"do": "begin", "engine": adapter.name, "config": None, "model": model if adapter.made else None}
        self._ask("make_engine", begin, LOAD_SECONDS)

    def has(self, function: str) -> bool:
        """Return whether the engine has this function."""
        return function in self.adapter.functions

    def call(self, function: str, *arguments: Any, returns: str | None = None) -> Any:
        """Call a function. Return a `Handle` if it returns a "cache", an array for "logits" and "rows", or None.

        Raises:
            ValueError: the engine has no such function; or it raised, refused, crashed or hung.
        """
        if not self.has(function):
            raise ValueError(f"{self.name} has no {function}, which this schedule needs; use another schedule")
        made = Handle(next(self._numbers))
        request = {"do": "call", "name": function, "arguments": list(arguments), "returns": returns}
        numbers = [made.number] if returns == "cache" else []
        answer = self._ask(function, request | {"numbers": numbers}, self.adapter.call_seconds)
        return made if returns == "cache" else answer.get("value")

    def drop(self, handle: Handle) -> None:
        """Delete a cache or a state with the next call: an engine may free its memory then."""
        self._dropped.append(handle.number)

    def _ask(self, function: str, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        answer = self._process.ask(request | {"drop": self._dropped}, seconds)
        self._dropped = []
        if what := _failure(answer):
            raise ValueError(f"{self.name}: {function}: {what}")
        return answer


def _failure(answer: dict[str, Any]) -> str:
    """Return what went wrong as one line, or an empty text."""
    if "crashed" in answer:
        return "; ".join([f"its process ended with {answer['crashed']}", *answer["output"]])
    if "hung" in answer:
        return f"no result within {answer['hung']:g} seconds"
    if "refused" in answer:
        return f"the engine refuses this: {answer['refused']}"
    if "error" in answer:
        place = f" ({answer['place']})" if answer["place"] else ""
        return one_line(f"{answer['error']}: {answer['message']}{place}")
    return ""
