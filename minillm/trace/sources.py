"""Sources: which line of minillm told an event, read from the frames that are running, so that it cannot go stale."""

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PASSED_ON = ("_tell", "tell", "count")  # functions that only hand an event on


def source_of_event() -> str:
    """Return file and line of the code that tells the event which is being heard, such as `minillm/prefill.py:45`."""
    frame = sys._getframe(1)
    while frame.f_back and (_hands_on(frame.f_code.co_filename) or frame.f_code.co_name in PASSED_ON):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    name = path.relative_to(PACKAGE.parent).as_posix() if path.is_relative_to(PACKAGE) else path.name
    return re.sub(r"[^\w./-]", "_", name[-200:]) + f":{frame.f_lineno}"


def _hands_on(file: str) -> bool:
    return Path(file).parent.name == "trace" or Path(file).name == "events.py"
