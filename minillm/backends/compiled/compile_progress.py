"""Progress on stderr while numba compiles: for which format of weights, and which kernel of how many.

    compiling for this machine, once: int8, kernel 10 of 20: gather_piece

A terminal shows one line, which changes and then disappears. Elsewhere one line for each format says what the wait is
for. Nothing is shown if the machine code is in the cache folder.

Ctrl-C waits for the kernel that is being compiled, at most some seconds. In the middle of it the interrupt would be
lost, because LLVM calls a Python function for each kernel, and ignores its exceptions.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import local
from typing import Any

from numba.core.dispatcher import Dispatcher

from minillm.support.interrupts import defer_interrupts
from minillm.support.terminal import terminal_width

# By the dtype of a matrix's numbers, see weights.py.
FORMATS = {"float32": "float32", "float64": "float64", "uint16": "bfloat16", "int16": "float16"}
FORMATS |= {"int8": "int8", "int32": "int4"}
ERASE_LINE = "\r\x1b[2K"


class FirstCall:
    """The first call of a kernel. It compiles the kernel and those that it calls, or finds them in the folder.

    Attributes:
        weights: the format of the weights that it computes with; "" if there are none.
        names: of all these kernels.
        ready: names of those that have machine code.
        interrupts: what Ctrl-C has raised meanwhile.
    """

    def __init__(self, kernel: Any, args: tuple[Any, ...]) -> None:
        self.weights, self.names = _format(kernel, args), _names(kernel.py_func)
        self.ready, self.interrupts, self.shown = set[str](), list[BaseException](), False

    def stop_if_interrupted(self) -> None:
        """Raise what Ctrl-C has raised. Called between two kernels."""
        if self.interrupts:
            raise self.interrupts[0]

    def show(self, name: str) -> None:
        """Show that a kernel is being compiled."""
        stream = sys.stderr
        # rich replaces stderr while it shows a bar of its own; a second line that changes cannot be seen then.
        if stream is not None and stream.isatty() and not hasattr(stream, "rich_proxied_file"):
            title = f"{self.weights}, " if self.weights else ""
            count = f"kernel {len(self.ready) + 1} of {len(self.names)}: {name}"
            line = f"compiling for this machine, once: {title}{count}"[: terminal_width() - 1]
            print(f"{ERASE_LINE}{line}", end="", file=stream, flush=True)
            self.shown = True
        elif self.weights:
            tell_once(self.weights)

    def erase(self) -> None:
        """Remove the line."""
        if self.shown:
            print(ERASE_LINE, end="", file=sys.stderr, flush=True)


class _OfThread(local):
    call: FirstCall | None = None


_thread = _OfThread()


@contextmanager
def progress_of(kernel: Any, args: tuple[Any, ...]) -> Iterator[None]:
    """Show what is compiled in the `with` block, which calls `kernel` for the first time."""
    _thread.call = call = FirstCall(kernel, args)
    try:
        with defer_interrupts(call.interrupts.append):
            yield
    finally:
        _thread.call = None
        call.erase()


def note_compiling(name: str) -> None:
    """Show that numba begins to compile the kernel of this name."""
    if _thread.call is not None:
        _thread.call.stop_if_interrupted()
        _thread.call.show(name)


def note_ready(name: str) -> None:
    """Count a kernel that is compiled, or was found in the folder."""
    if _thread.call is not None:
        _thread.call.ready.add(name)
        _thread.call.stop_if_interrupted()


@cache
def tell_once(weights: str) -> None:
    """Say on stderr, which is not a terminal, why the first start with this format takes longer."""
    if sys.stderr is not None:
        print(f"compiling for this machine, once: {weights}, about half a minute", file=sys.stderr)


def _format(kernel: Any, args: tuple[Any, ...]) -> str:
    """Return the format of a kernel's matrix: the dtype of its argument `numbers`, or of those of `layers`."""
    named = dict(zip(inspect.signature(kernel.py_func).parameters, args, strict=True))
    numbers = named["layers"][1][0] if "layers" in named else named.get("numbers")
    return "" if numbers is None else FORMATS[str(numbers.dtype)]


def _names(function: Callable[..., Any]) -> set[str]:
    """Return the names of a kernel and of all kernels that its code calls, also through pieces that are inlined."""
    names = {function.__name__}
    for name in function.__code__.co_names:
        called = function.__globals__.get(name)
        if isinstance(called, Dispatcher):
            inlined = called.targetoptions.get("inline") == "always"
            names |= _names(called.py_func) - ({called.py_func.__name__} if inlined else set())
    return names
