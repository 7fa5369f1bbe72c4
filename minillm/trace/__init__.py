"""Trace: looking at a run from outside, without changing what it computes.

    with minillm.trace.record("run.jsonl"):                          # a file of what happens in the block
        minillm.generate(model, "The capital of France is")
    trace = minillm.trace.read("run.jsonl")                          # trace.states.at(3): the run after 3 passes
    minillm.trace.show(trace)                                        # a page in a notebook, which steps through it

The names are imported when they are used, so that `import minillm` takes no longer.
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
