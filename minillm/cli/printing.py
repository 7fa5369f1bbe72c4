"""Printing for all commands: text that is safe on a terminal, readable sizes and times, JSON."""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from minillm.support.printable import one_line, safe
from minillm.support.terminal import terminal_width, wrapped


def write(text: str) -> None:
    """Write text to stdout and flush; characters that would steer the terminal become escapes."""
    sys.stdout.write(safe(text))
    sys.stdout.flush()


def make_console() -> Any:
    """Return a rich console as wide as the terminal, also where `TERM=dumb` lets rich assume 80 columns."""
    from rich.console import Console

    return Console(highlight=False, markup=False, width=terminal_width(), height=25)  # rich needs both or ignores them


def show(*renderables: Any) -> None:
    """Draw with rich, as wide as the terminal, and write to stdout, or raise OSError. Long lines are folded."""
    sys.stdout.flush()  # flush here: if rich flushed to a closed pipe, it would end the process
    console = make_console()
    with console.capture() as drawn:
        console.print(*renderables, overflow="fold", sep="\n")
    sys.stdout.write(drawn.get())
    sys.stdout.flush()


def say_unsaved(reason: str) -> None:
    """Print on stderr why progress is not saved, if there is a reason: in one line, but wrapped on a terminal."""
    if reason:
        _say(f"minillm: progress is not saved: {one_line(reason)}")


def say_damaged(file: Path | None) -> None:
    """Print on stderr, as `say_unsaved` does, that the file with the progress is damaged, if there is one."""
    if file is not None:
        name = f"{file.name}.N.bak"
        _say(f"minillm: {one_line(str(file))} is damaged: no progress is known; it will be kept as {name}")


def _say(message: str) -> None:
    sys.stderr.write(f"{wrapped(message) if sys.stderr.isatty() else message}\n")


def there(options: argparse.Namespace) -> str:
    """Return the option `--dir` as it was given, for commands that are shown to be copied; nothing by default."""
    return "" if options.dir == "." else f" --dir {shlex.quote(options.dir)}"


def print_json(values: dict[str, Any]) -> None:
    """Print one JSON object on one line, in ASCII, which every encoding can represent."""
    print(json.dumps(values, allow_nan=False))


def markdown_row(*cells: str) -> str:
    """Return one row of a Markdown table, with `|` escaped in its cells."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def logprob_records(logprobs: list[Any]) -> list[dict[str, Any]]:
    """Return the JSON records of the tokens' log-probabilities."""
    return [{"token": one.token, "logprob": one.logprob, "best": one.best} for one in logprobs]


def bytes_text(count: int) -> str:
    """Return a size in powers of 1000.

    >>> bytes_text(1_234_567)
    '1.2 MB'
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def seconds_text(seconds: float) -> str:
    """Return a time in seconds, milliseconds or microseconds.

    >>> seconds_text(0.01234), seconds_text(0.00001234)
    ('12.3 ms', '12.3 µs')
    """
    if 0 < seconds < 1e-4:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
