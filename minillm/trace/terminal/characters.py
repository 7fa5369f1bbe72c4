"""Characters: texts of strangers made visible and measured in columns, and the signs that frames are drawn with.

A terminal shows some characters in two columns and some in none. What it would obey, hide or reorder is an escape here:

    " Paris"  ␣Paris        a line end  ⏎        a right-to-left mark  ‹200F›
"""

import unicodedata

from rich.cells import cell_len as width_of
from rich.cells import set_cell_size

from minillm.support.terminal import can_print

SEEN_AS = {"\n": "⏎", "\t": "⇥", "\r": "␍", " ": "␣"}
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # categories of characters
SIGNS, PLAIN = "█▓▒░·▲◀◆■□●○│┃─×✓✗␣⏎⇥␍‹›…–→←↑↓", "#%+:.^<o#o@o|!-xvx_$><<>~-><^v"
ASCII = str.maketrans(SIGNS, PLAIN)  # for outputs that have no others


def visible(text: str) -> str:
    """Return a text with signs for spaces and line ends, and escapes for all else that would not be seen as it is.

    Example:
        >>> from minillm.trace.terminal.characters import visible
        >>> visible(" Paris\\n\\x1b[2J\\u200f")
        '␣Paris⏎‹1B›[2J‹200F›'
    """
    marked = text and unicodedata.combining(text[0])  # it would go onto what stands before the text
    first = f"‹{ord(text[0]):X}›" if marked else ""
    return first + "".join(SEEN_AS.get(character) or _seen(character) for character in text[len(first) > 0 :])


def shown(text: str) -> str:
    """Return a sentence with escapes for what would not be seen as it is. Its spaces stay spaces."""
    return "".join(character if character == " " else visible(character) for character in text)


def _seen(character: str) -> str:
    hidden = unicodedata.category(character) in UNSEEN or not can_print(character)
    return f"‹{ord(character):X}›" if hidden else character


def cut(text: str, columns: int) -> str:
    """Return a text of at most `columns` columns, with an ellipsis if it is cut.

    Example:
        >>> from minillm.trace.terminal.characters import cut
        >>> cut("understanding", 6), cut("東京都", 5)
        ('under…', '東京…')
    """
    text = text[: 4 * columns]  # combining marks have no columns, and a text could have any number
    if width_of(text) <= columns:
        return text
    return set_cell_size(text, columns - 1).rstrip() + "…" if columns else ""


def fitted(text: str, columns: int) -> str:
    """Return a text of exactly these columns: cut, or followed by spaces."""
    shown = cut(text, columns)
    return shown + " " * (columns - width_of(shown))


def for_output(text: str) -> str:
    """Return a frame as standard output can print it: with ASCII signs if it has no others."""
    return text if can_print(SIGNS) else text.translate(ASCII)
