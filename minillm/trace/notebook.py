"""Notebook: the page of a trace in a notebook: Jupyter, marimo, or another that shows HTML."""

import html
import os
from dataclasses import dataclass

from minillm.support.checks import check_integer
from minillm.trace.page import page
from minillm.trace.reader import Trace, load


@dataclass(frozen=True)
class Shown:
    """A page in a frame. A notebook shows it if it is the last value of a cell."""

    page: str
    height: int

    def __repr__(self) -> str:
        return f"Shown({len(self.page)} characters of HTML)"

    def _repr_html_(self) -> str:
        """Return a frame that cannot reach the notebook: a sandbox without the notebook's origin."""
        return (
            f'<iframe srcdoc="{html.escape(self.page)}" sandbox="allow-scripts" title="A run, step by step" '
            f'width="100%" height="{self.height}" style="border: 0"></iframe>'
        )


def show(trace: Trace | str | os.PathLike[str], height: int = 900) -> Shown:
    """Return the page of a trace, or of a file with one, for a notebook.

    Args:
        trace: what `read` returned, or the name of a file.
        height: of the frame, in pixels.

    Raises:
        ValueError: the file is not a trace, or the page would have more than 2 MB.
        OSError: the file cannot be read.
    """
    check_integer("height", height, 100, 10_000)
    return Shown(page(trace if isinstance(trace, Trace) else load(trace)), height)
