"""For child processes that a test interrupts."""

import signal


def hear_interrupts():
    """A test run in the background of a script ignores Ctrl-C, and its children would too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
