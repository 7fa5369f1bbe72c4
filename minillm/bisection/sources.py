"""Sources: which line asked for a result, and which line computed it, read from the frames that run."""

import linecache
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

from minillm.bisection.observed import Source

PACKAGE = Path(__file__).parents[1]
NUMPY = str(Path(np.__file__).parent)
OWN = str(Path(__file__).parent)


class Return(NamedTuple):
    """A function returned a value at this line."""

    code: CodeType
    line: int
    value: Any


@contextmanager
def returns_watched(watch: bool) -> Iterator[list[Return]]:
    """Collect what the functions of this thread return in the block, the innermost first; nothing unless `watch`."""
    seen: list[Return] = []

    def hear(frame: FrameType, event: str, value: Any) -> None:
        if event == "return" and hasattr(value, "shape"):
            seen.append(Return(frame.f_code, frame.f_lineno, value))

    before = sys.getprofile()
    if watch:
        sys.setprofile(hear)
    try:
        yield seen
    finally:
        sys.setprofile(before)


def source_of(returned: list[Return], result: Any) -> Source:
    """Return the source of a result: the innermost function that returned this very array, and who asked for it.

    A backend's method often only passes the array on that another function made: `Plain.rms_norm` returns what
    `layers.rms_norm` returns.
    """
    caller = sys._getframe(1)
    while caller.f_back and str(Path(caller.f_code.co_filename).parent) == OWN:
        caller = caller.f_back
    called = _named(caller.f_code.co_filename, caller.f_lineno)
    for one in returned:
        if one.value is result and not one.code.co_filename.startswith(NUMPY):
            return Source(*called, *_named(one.code.co_filename, one.line), one.code.co_qualname)
    return Source(*called, *called, caller.f_code.co_qualname)


def _named(file: str, line: int) -> tuple[str, str]:
    """Return `file:line`, relative to the folder of minillm, and the text of the line."""
    path = Path(file)
    name = path.relative_to(PACKAGE.parent).as_posix() if path.is_relative_to(PACKAGE) else path.name
    plain = re.sub(r"[^\w./-]", "_", name[-200:])
    return f"{plain}:{line}", linecache.getline(file, line).strip()[:200]
