"""Sealed code: the cell of a question in a notebook, whose answer is not seen before the reader tries.

A notebook shows the code of its cells. The code of a question has the answer in it, or the formula of the answer. So
this code is compressed and written as text that nobody reads by accident. It is not a secret: `print(unsealed(text))`
shows it. A hash would hide it better, but the answer depends on the weights and on the cells that ran before, and a
number counts as right within a tolerance.
"""

import base64
import textwrap
import zlib

COLUMNS = 78


def seal(source: str) -> str:
    """Return the source as one line of letters, digits and signs.

    >>> unsealed(seal("predict('2 + 2?', answer=4)"))
    "predict('2 + 2?', answer=4)"
    """
    return base64.b85encode(zlib.compress(source.encode(), 9)).decode()


def unsealed(text: str) -> str:
    """Return the source that `seal` was given. White space in the text does not count.

    Raises:
        ValueError: if the text is not sealed code.
    """
    try:
        return zlib.decompress(base64.b85decode("".join(text.split()))).decode()
    except (ValueError, zlib.error):
        raise ValueError("this is not sealed code; was the cell changed?") from None


def sealed_cell(source: str) -> str:
    """Return the code of a notebook's cell that runs `source` without showing it."""
    lines = "\n".join(textwrap.wrap(seal(source), COLUMNS, break_on_hyphens=False))
    return (
        "# A question: run this cell. Its code is sealed, because it computes the answer.\n"
        "from minillm.classroom.sealed import unsealed\n\n"
        f'exec(unsealed(r"""\n{lines}\n"""))'
    )
