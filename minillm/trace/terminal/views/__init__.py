"""Views of a run: each draws a moment as lines of text, as the view of the same name on the page does."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from minillm.trace.terminal.moment import Moment
from minillm.trace.terminal.views import attention, batch, cache, choice, passes, speculation, text

PHASES = ("prefill", "chunk", "decode", "verify", "recompute", "naive")
BLOCKS = ("hit", "share", "copy", "release", "evict", "preempt", "resume")


@dataclass(frozen=True)
class View:
    """A view.

    Attributes:
        title: what it shows.
        draw: return a moment as lines of at most `moment.width` columns.
        happenings: what it shows best. A step in which one of them happens for the first time is worth a frame.
        needs: kinds of lines; a trace without them has nothing that the view could show.
    """

    title: str
    draw: Callable[[Moment], list[Text]]
    happenings: tuple[str, ...]
    needs: str = ""


VIEWS = {
    "text": View("the text", text.draw, ("request", *PHASES, "corrected", "bonus", "finish")),
    "pass": View("the pass", passes.draw, (*PHASES, "mixed")),
    "cache": View("the cache", cache.draw, (*PHASES, *BLOCKS)),
    "attention": View("attention", attention.draw, ("prefill", "decode", "verify"), needs="attention"),
    "choice": View("the choice", choice.draw, ("choice", "drawn", "unlikely", "corrected"), needs="choice"),
    "batch": View("the batch", batch.draw, ("request", *PHASES, "mixed", "preempt", "resume", "finish")),
    "speculation": View("speculation", speculation.draw, ("corrected", "bonus", "accepted"), needs="verdict"),
}
