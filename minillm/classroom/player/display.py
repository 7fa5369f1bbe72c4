"""How cells look on a terminal: prose as it is written, with a little emphasis; code indented and coloured."""

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
KEPT = re.compile(r"\s|#|\||[-*] |\d+\. ")  # how lines begin that are no part of a paragraph


class Prose:
    """Markdown, as it is: a lesson's prose is written to be read in its file too.

    Where the terminal is narrower than the text, the lines of each paragraph are joined first, so that it is folded
    once, and not each of its lines into a long and a short one.
    """

    def __init__(self, source: str) -> None:
        """The prose of a cell."""
        self.source = source

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """For rich: the text, with a little emphasis."""
        fits = max(map(len, self.source.split("\n"))) <= options.max_width
        yield _emphasised(self.source if fits else joined(self.source))


def joined(source: str) -> str:
    """Markdown with each paragraph on one line; lists, tables, headings and what is indented keep their lines."""
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
    """Python in the terminal's own colours, indented, so that it stands apart from output without any colour."""

    def __init__(self, source: str) -> None:
        """The code of a cell."""
        self.source = source

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """For rich: its lines; one that is folded keeps its indentation."""
        syntax = Syntax("", "python", theme="ansi_dark", background_color="default")
        for line in syntax.highlight(self.source).split("\n", allow_blank=True):
            yield from _folded(line, console, options.max_width)


def _folded(line: Text, console: Console, width: int) -> Iterator[Text]:
    """A line of code in as many as it takes, each as far in as the first."""
    spaces = len(line.plain) - len(line.plain.lstrip())
    start = min(INDENT + spaces, width // 2) if line.plain.strip() else 0
    for piece in line[spaces:].wrap(console, width - start, overflow="fold"):
        yield Text(" " * start) + piece
