"""Trace: looking at a run from outside, without changing what it computes.

`record` writes what happens in a block to a file, and `read` gives the run as it was after each step. Both are imported
when they are used, so that `import minillm` takes no longer.

    >>> import tempfile
    >>> model, path = minillm.load("story"), tempfile.mkdtemp() + "/run.jsonl"
    >>> with minillm.trace.record(path):
    ...     out = minillm.generate(model, "The capital of France is", max_new_tokens=3)
    >>> minillm.trace.read(path).states.at(2)["requests"][0]["text"]
    ' Paris'
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minillm.trace.reader import Trace, read
    from minillm.trace.recording import record

__all__ = ["Trace", "read", "record"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in ("Trace", "read"):
        return getattr(import_module("minillm.trace.reader"), name)
    if name == "record":
        return import_module("minillm.trace.recording").record
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
