"""Ctrl-C: heard by child processes that a test interrupts, and raised at a chosen place of a test's own process."""

import signal
import sys
import time
from pathlib import Path


def hear_interrupts():
    """A test run in the background of a script ignores Ctrl-C, and its children would too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def until_it_waits(process):
    """Wait until a program sleeps, as it does when it waits for input.

    Python overlooks a signal that comes between showing a prompt and waiting for input.
    """
    status = Path(f"/proc/{process}/stat")
    time.sleep(0.2)
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] == "R":
        time.sleep(0.02)


class CtrlC:
    """While it is entered, the event of this number is interrupted: just before or after a function is called.

    Attributes:
        count: events so far.
        callers: names of the functions that were interrupted, from the innermost on.
    """

    def __init__(self, number=0):
        """Of number 0 it only counts."""
        self.number, self.count, self.callers = number, 0, []

    def __enter__(self):
        sys.setprofile(self._hear)

    def __exit__(self, *problem):
        sys.setprofile(None)

    def _hear(self, frame, event, argument):
        self.count += 1
        if self.count == self.number:
            sys.setprofile(None)
            while frame is not None:
                self.callers.append(frame.f_code.co_name)
                frame = frame.f_back
            signal.raise_signal(signal.SIGINT)
