"""Trace: looking at a run from outside, without changing what it computes.

    with minillm.trace.record("run.jsonl"):                          # a file of what happens in the block
        minillm.generate(model, "The capital of France is")
    trace = minillm.trace.read("run.jsonl")                          # trace.states.at(3): the run after 3 passes

The names are imported when they are used, so that `import minillm` takes no longer.
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
