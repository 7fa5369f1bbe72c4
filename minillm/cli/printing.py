"""What all commands print with: text that is safe on a terminal, sizes that people read, JSON."""

import json
import sys
from typing import Any

from minillm.support.printable import safe

NARROWEST = 20  # columns; on less, which a broken COLUMNS may claim, rich would show nothing


def write(text: str) -> None:
    """Text of a model to stdout, at once."""
    sys.stdout.write(safe(text))
    sys.stdout.flush()


def terminal_width() -> int:
    """Columns of the terminal, or what COLUMNS says."""
    from rich.console import Console

    return max(Console().width, NARROWEST)


def show(*renderables: Any) -> None:
    """What rich draws, as wide as the terminal, to stdout; nothing is cut, and a failure to write is an OSError."""
    from rich.console import Console

    sys.stdout.flush()  # what was printed before: rich would flush it too, and end the process at a closed pipe
    console = Console(highlight=False, markup=False)
    console.width = terminal_width()
    with console.capture() as drawn:
        console.print(*renderables, overflow="fold", sep="\n")
    sys.stdout.write(drawn.get())
    sys.stdout.flush()


def print_json(values: dict[str, Any]) -> None:
    """One JSON object on stdout; ASCII, so that any terminal and any reader takes it."""
    print(json.dumps(values, allow_nan=False))


def markdown_row(*cells: str) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def logprob_records(logprobs: list[Any]) -> list[dict[str, Any]]:
    """Log-probabilities of chosen tokens, for JSON."""
    return [{"token": one.token, "logprob": one.logprob, "best": one.best} for one in logprobs]


def counted(count: int, noun: str) -> str:
    """'1 answer', '2 answers'."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def bytes_text(count: int) -> str:
    """1,234,567 as '1.2 MB'; powers of 1000."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def seconds_text(seconds: float) -> str:
    """0.01234 as '12.3 ms', 0.00001234 as '12.3 µs'."""
    if 0 < seconds < 1e-4:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
