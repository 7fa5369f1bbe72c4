"""Trace: looking at a run from outside, without changing what it computes.

`record` writes what happens in a block to a file, and `read` gives the run as it was after each step. `show` is a page
in a notebook that steps through it. They are imported when they are used, so that `import minillm` takes no longer.

    >>> import tempfile
    >>> model, path = minillm.load("story"), tempfile.mkdtemp() + "/run.jsonl"
    >>> with minillm.trace.record(path):
    ...     out = minillm.generate(model, "The capital of France is", max_new_tokens=3)
    >>> minillm.trace.read(path).states.at(2)["requests"][0]["text"]
    ' Paris'
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minillm.trace.notebook import show
    from minillm.trace.reader import Trace, read
    from minillm.trace.recording import record

__all__ = ["Trace", "read", "record", "show"]
HOMES = {"Trace": "reader", "read": "reader", "record": "recording", "show": "notebook"}  # their modules


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in HOMES:
        return getattr(import_module(f"minillm.trace.{HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
