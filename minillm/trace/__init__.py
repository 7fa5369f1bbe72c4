"""Trace: looking at a run from outside, without changing what it computes.

`record` keeps what happens in a block, in memory or in a file, which `load` reads: the run as it was after each step.
`frame` and `frames` draw steps in plain characters, and `show` is a page in a notebook that steps through the run. They
are imported when they are used, so that `import minillm` takes no longer.

    >>> model = minillm.load("story")
    >>> with minillm.trace.record() as run:
    ...     out = minillm.generate(model, "The capital of France is", max_new_tokens=3)
    >>> run.trace.state(2)["requests"][0]["text"]
    ' Paris'
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minillm.trace.notebook import show
    from minillm.trace.reader import Trace, load
    from minillm.trace.recording import Run, record
    from minillm.trace.terminal.frames import frame, frames

__all__ = ["Run", "Trace", "frame", "frames", "load", "record", "show"]
HOMES = {  # their modules
    "Run": "recording",
    "Trace": "reader",
    "frame": "terminal.frames",
    "frames": "terminal.frames",
    "load": "reader",
    "record": "recording",
    "show": "notebook",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in HOMES:
        return getattr(import_module(f"minillm.trace.{HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
