"""Display cells on a terminal: prose with a little emphasis, code indented and coloured."""

import re
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text

EMPHASIS = (
    (re.compile(r"^#+ .*$", re.MULTILINE), Style(bold=True)),
    (re.compile(r"\*\*[^*\n]+\*\*"), Style(bold=True)),
    (re.compile(r"`[^`\n]+`"), Style(color="cyan")),
    (re.compile(r"(?<![*\w])\*[^*\s][^*\n]*\*(?!\*)"), Style(italic=True)),
)
INDENT = 2
KEPT = re.compile(r"\s|#|\||[-*] |\d+\. ")  # beginnings of lines that are not part of a paragraph


class Prose:
    """Markdown that is shown as it is written.

    On a terminal that is narrower than the text, the lines of each paragraph are joined first. Then the paragraph is
    wrapped as a whole, and not line by line.
    """

    def __init__(self, source: str) -> None:
        """Take the prose of a cell."""
        self.source = source

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield the text with a little emphasis (rich calls this)."""
        fits = max(map(len, self.source.split("\n"))) <= options.max_width
        yield _emphasised(self.source if fits else joined(self.source))


def joined(source: str) -> str:
    """Put each paragraph on one line. Lists, tables, headings and indented lines keep their line breaks."""
    lines = [""]
    for line in source.split("\n"):
        if line and lines[-1] and not KEPT.match(line) and not KEPT.match(lines[-1]):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return "\n".join(lines[1:])


def _emphasised(source: str) -> Text:
    text = Text(source)
    for pattern, style in EMPHASIS:
        for found in pattern.finditer(source):
            text.stylize(style, *found.span())
    return text


class Code:
    """Python code in the terminal's own colours. It is indented, so it differs from output without colours, too."""

    def __init__(self, source: str) -> None:
        """Take the code of a cell."""
        self.source = source

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield the lines. A wrapped line keeps its indentation (rich calls this)."""
        syntax = Syntax("", "python", theme="ansi_dark", background_color="default")
        for line in syntax.highlight(self.source).split("\n", allow_blank=True):
            yield from _folded(line, console, options.max_width)


def _folded(line: Text, console: Console, width: int) -> Iterator[Text]:
    """Wrap a line of code, with the indentation of its first line."""
    spaces = len(line.plain) - len(line.plain.lstrip())
    start = min(INDENT + spaces, width // 2) if line.plain.strip() else 0
    for wrapped in line[spaces:].wrap(console, width - start, overflow="fold"):
        yield Text(" " * start) + wrapped
