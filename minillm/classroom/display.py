"""How cells look on a terminal: prose as it is written, with a little emphasis; code indented and coloured."""

import re

from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text

EMPHASIS = (
    (re.compile(r"^#+ .*$", re.MULTILINE), Style(bold=True)),
    (re.compile(r"\*\*[^*\n]+\*\*"), Style(bold=True)),
    (re.compile(r"`[^`\n]+`"), Style(color="cyan")),
    (re.compile(r"(?<![*\w])\*[^*\s][^*\n]*\*(?!\*)"), Style(italic=True)),
)
INDENT = "  "


def prose_text(source: str) -> Text:
    """Markdown, as it is: a lesson's prose is written to be read in its file too."""
    text = Text(source)
    for pattern, style in EMPHASIS:
        for found in pattern.finditer(source):
            text.stylize(style, *found.span())
    return text


def code_text(source: str) -> Text:
    """Python in the terminal's own colours, indented, so that it stands apart from output without any colour."""
    syntax = Syntax("", "python", theme="ansi_dark", background_color="default")
    text = syntax.highlight(source)
    return Text("\n").join(Text(INDENT if line else "") + line for line in text.split("\n", allow_blank=True))
