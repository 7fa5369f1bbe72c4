"""Views of a run: each draws a moment as lines of text, as the view of the same name on the page does."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from minillm.trace.reader import Trace
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
        shows: return whether a trace has something that the view could show.
    """

    title: str
    draw: Callable[[Moment], list[Text]]
    happenings: tuple[str, ...]
    shows: Callable[[Trace], bool] = lambda trace: True


def _has_candidates(trace: Trace) -> bool:
    return any(line["t"] == "choice" and line["before"] for line in trace.lines)


def _has_verdicts(trace: Trace) -> bool:
    return any(line["t"] == "verdict" for line in trace.lines)


VIEWS = {
    "text": View("the text", text.draw, ("request", *PHASES, "corrected", "bonus", "finish")),
    "pass": View("the pass", passes.draw, (*PHASES, "mixed")),
    "cache": View("the cache", cache.draw, (*PHASES, *BLOCKS)),
    "attention": View("attention", attention.draw, ("prefill", "decode", "verify"), lambda trace: trace.has_attention),
    "choice": View("the choice", choice.draw, ("choice", "drawn", "unlikely", "corrected"), _has_candidates),
    "batch": View("the batch", batch.draw, ("request", *PHASES, "mixed", "preempt", "resume", "finish")),
    "speculation": View("speculation", speculation.draw, ("corrected", "bonus", "accepted"), _has_verdicts),
}
