"""Layout: short texts next to each other, and columns of text."""

from rich.text import Text

from minillm.trace.terminal.characters import fitted, width_of


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
            lines.append(" " * indent + item)
    return [Text(line, style) for line in lines]


def columns(*cells: tuple[str, int, str]) -> Text:
    """Return cells next to each other, each with its text, its columns and its style."""
    line = Text()
    for text, width, style in cells:
        line.append(fitted(text, width), style)
    return line
