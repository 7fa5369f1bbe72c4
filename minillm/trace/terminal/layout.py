"""Layout: short texts next to each other, sentences in lines, cells in columns, a sign under a place."""

from rich.cells import cell_len as width_of
from rich.cells import chop_cells
from rich.text import Text

from minillm.trace.terminal.characters import cut, fitted
from minillm.trace.words import letter


def styled(text: str, style: str) -> Text:
    """Return a text in a style that ends with it. rich would go on with the style of the first of two added texts."""
    return Text().append(text, style)


def folded(items: list[str], width: int, indent: int = 0, style: str = "dim") -> list[Text]:
    """Return short texts next to each other, in as many lines as they need.

    Example:
        >>> from minillm.trace.terminal.layout import folded
        >>> [line.plain for line in folded(["+ accepted", "! correction", "* bonus"], 28)]
        ['+ accepted   ! correction', '* bonus']
    """
    lines = list[str]()
    for item in items:
        if lines and width_of(lines[-1]) + 3 + width_of(item) <= width:
            lines[-1] += f"   {item}"
        else:
            lines += [line.plain for line in prose(item, width, indent)]
    return [Text(line, style) for line in lines]


def prose(text: str, width: int, indent: int = 0, hanging: int = 2, style: str = "") -> list[Text]:
    """Return a sentence in lines, those after its first indented by `hanging` more columns.

    Columns are counted as a terminal shows them, which `textwrap` does not. A word that is too long is broken.
    """
    lines = [" " * indent]
    for word in text.split(" "):
        if lines[-1].strip() and width_of(f"{lines[-1]} {word}") > width:
            lines.append(" " * (indent + hanging))
        lines[-1] += f" {word}" if lines[-1].strip() else word
        while width_of(lines[-1]) > width:
            first, *_ = chop_cells(lines[-1], width)
            lines[-1:] = [first, " " * (indent + hanging) + lines[-1][len(first) :]]
    return [Text(line, style) for line in lines]


def columns(*cells: tuple[str, int, str]) -> Text:
    """Return cells next to each other, each with its text, its columns and its style."""
    line = Text()
    for text, width, style in cells:
        line.append(fitted(text, width), style)
    return line


def needle(at: int, text: str, width: int) -> list[Text]:
    """Return a line that points up at a column, with a text on the side that has room; else the text below.

    Example:
        >>> from minillm.trace.terminal.layout import needle
        >>> [line.plain for line in needle(3, "0.1", 12) + needle(9, "0.9", 12)]
        ['   ▲ 0.1', '     0.9 ▲']
    """
    if at + 2 + width_of(text) <= width:
        return [Text(" " * at + "▲ " + text)]
    if width_of(text) < at:
        return [Text(" " * (at - 1 - width_of(text)) + text + " ▲")]
    return [Text(" " * at + "▲"), *prose(text, width)]


def whose(chosen: int, requests: list[int], width: int) -> list[Text]:
    """Return which of several requests a view shows; nothing if there is one."""
    others = ", ".join(letter(number) for number in requests if number != chosen)
    return [Text(cut(f"Request {letter(chosen)}. Also in this step: {others}", width), "bold")] if others else []
