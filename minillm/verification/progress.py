"""Progress of a search on a terminal: the examples so far, and the smallest failing one."""

import time
from collections.abc import Callable
from typing import Any

from minillm.support.printable import one_line
from minillm.verification.failure import Failure
from minillm.verification.findings import Findings

SECONDS = 0.2  # between two updates
SAVE, RESTORE, CLEAR = "\0337", "\0338", "\033[K"  # the position of the cursor; the rest of the line


class Progress:
    """Shows progress in the rest of the terminal's current line, where pytest has written the name of the test."""

    def __init__(self, findings: Findings, write: Callable[[str], None], columns: Callable[[], int]) -> None:
        """Show the progress of a search until `end`.

        Args:
            findings: what the search finds.
            write: writes to the terminal.
            columns: returns how many columns are left in the line.
        """
        self._findings, self._write, self._columns = findings, write, columns
        self._shown_at = time.monotonic()
        findings.show = self.show

    def show(self) -> None:
        """Show the progress, if the last update was some time ago."""
        if time.monotonic() - self._shown_at >= SECONDS:
            self._shown_at = time.monotonic()
            self._write(f"{SAVE}{text(self._findings)[: max(0, self._columns() - 2)]}{CLEAR}{RESTORE}")

    def end(self) -> None:
        """Clear what is shown."""
        self._findings.show = lambda: None
        self._write(CLEAR)


def text(findings: Findings) -> str:
    """Return the progress in words.

    >>> text(Findings(1e-4, examples=12))
    ' 12 examples'
    """
    found = findings.smallest
    return f" {findings.examples} examples" + (f", shrinking: {_short(found)}" if found is not None else "")


def _short(failure: Failure) -> str:
    """Return the calls of a failing example in one line."""
    return one_line(f"{failure.verdict}: {'; '.join(map(str, failure.calls))}")


def shown_by(terminal: Any, capture: Any, findings: Findings) -> Progress | None:
    """Return the progress on pytest's terminal, or None if it is not one."""
    if terminal is None or not terminal.isatty:
        return None
    writer = terminal._tw

    def write(shown: str) -> None:
        if capture is None:
            writer._file.write(shown)
            writer._file.flush()
            return
        with capture.global_and_fixture_disabled():
            writer._file.write(shown)
            writer._file.flush()

    return Progress(findings, write, lambda: writer.fullwidth - writer.width_of_current_line)
