"""Frames: steps of a run in plain characters, one view at a time, with a sentence that says what the step did.

Step 2 of 3: the text ────────────────────────────────────────────────────────
A  decode
   │The│␣capital│␣of│␣France│␣is│␣P┃aris┃
                                ─── ────
   ─ generated   ┃ new in this step

Decode: one token runs at position 5. The next token is "aris" (100%).
"""

import re
from collections.abc import Iterable

from rich.text import Text

from minillm.support.checks import check_choice, check_integer
from minillm.trace.reader import Trace
from minillm.trace.state import Line
from minillm.trace.terminal.characters import for_output, shown
from minillm.trace.terminal.layout import prose, styled
from minillm.trace.terminal.moment import Moment
from minillm.trace.terminal.views import VIEWS
from minillm.trace.words import step_in_words

NARROWEST, READABLE = 40, 78  # columns of a frame, and of its longest sentence
EACH = {"preempt", "copy", "evict", "corrected"}  # worth a frame every time
MOST = 20  # frames that matter


def frame(
    trace: Trace,
    step: int,
    view: str,
    width: int = 78,
    *,
    request: int | None = None,
    layer: int | None = None,
    head: int | None = None,
) -> str:
    """Return a step of a run in plain characters: a heading, the view, and a sentence.

    Args:
        trace: the run.
        step: its number; -1 is the last.
        view: "text", "pass", "cache", "attention", "choice", "batch" or "speculation".
        width: the most columns of a line, at least 40.
        request, layer, head: what is shown where a view has room for one; by default the first, or all.

    Raises:
        ValueError: there is no such view, or the width is too small.
        IndexError: there is no such step.

    Example:
        >>> model = minillm.load("story")
        >>> with minillm.trace.record() as run:
        ...     out = minillm.generate(model, "The capital of France is", max_new_tokens=3)
        >>> print(minillm.trace.frame(run.trace, 2, "text").splitlines()[2])
           │The│␣capital│␣of│␣France│␣is│␣P┃aris┃
    """
    check_choice("view", view, tuple(VIEWS))
    check_integer("width", width, NARROWEST)
    steps = range(len(trace.states.steps))
    if not -len(steps) <= step < len(steps):
        raise IndexError(f"there is no step {step}; expected 0 to {steps[-1]}, or -1 for the last")
    moment = Moment(trace, steps[step], width, request, layer, head)
    heading, body, words = frame_parts(moment, view)
    return for_output("\n".join(line.plain.rstrip() for line in [heading, *body, Text(), *words]))


def frames(
    trace: Trace,
    view: str,
    steps: Iterable[int] | None = None,
    width: int = 78,
    *,
    request: int | None = None,
    layer: int | None = None,
    head: int | None = None,
) -> list[str]:
    """Return several steps as `frame` draws each; by default those that matter in this view.

    Raises:
        ValueError, IndexError: as `frame` does.

    Example:
        >>> model = minillm.load("story")
        >>> with minillm.trace.record() as run:
        ...     out = minillm.generate(model, "The capital of France is", max_new_tokens=8)
        >>> [text.split(":")[0] for text in minillm.trace.frames(run.trace, "pass")]  # prefill, decode, the last
        ['Step 1 of 4', 'Step 2 of 4', 'Step 4 of 4']
    """
    check_choice("view", view, tuple(VIEWS))
    chosen = steps_that_matter(trace, view) if steps is None else steps
    return [frame(trace, step, view, width, request=request, layer=layer, head=head) for step in chosen]


def steps_that_matter(trace: Trace, view: str) -> list[int]:
    """Return the steps in which something happens that the view shows and no earlier step had, and the last step.

    Preemptions, copies of blocks, evictions and rejections count each time. There are at most 20 steps.
    """
    seen, steps = set[str](), list[int]()
    for step, lines in enumerate(trace.states.steps):
        happened = happenings(lines) & {*VIEWS[view].happenings}
        if happened - (seen - EACH):
            steps.append(step)
        seen |= happened
    last = len(trace.states.steps) - 1
    return [*[step for step in steps if step != last][: MOST - 1], last]


def happenings(lines: list[Line]) -> set[str]:
    """Return what happens in the lines of a step."""
    phases = {row["phase"] for line in lines if line["t"] == "pass" and line["model"] == 0 for row in line["rows"]}
    found = phases | {line["t"] for line in lines} | {line["do"] for line in lines if line["t"] == "block"}
    found |= {"mixed"} if len(phases) > 1 else set()
    found |= {"resume" for line in lines if line["t"] == "admit" and line["resumed"]}
    for line in lines:
        if line["t"] == "verdict":
            found |= {line["then"]} | {"accepted" for judged in line["tokens"] if judged["accepted"]}
        if line["t"] == "choice" and line["before"]:
            found |= {"greedy" if line["number"] is None else "drawn"}
            found |= {"unlikely"} if line["before"][0][0] != line["token"] else set()
    return found


def frame_parts(moment: Moment, view: str) -> tuple[Text, list[Text], list[Text]]:
    """Return the heading, the view and the sentence of a frame, with styles."""
    lines = VIEWS[view].draw(moment)
    for line in lines:
        line.truncate(moment.width, overflow="ellipsis")  # a trace of a stranger may have numbers of any length
    return _heading(moment, view), lines, _sentence(moment)


def _heading(moment: Moment, view: str) -> Text:
    words = f"Step {moment.step} of {len(moment.trace.states.steps) - 1}: {VIEWS[view].title} "
    return styled(words, "bold") + Text("─" * (moment.width - len(words)), "dim")


def _sentence(moment: Moment) -> list[Text]:
    """Return what the step did, in words. No line ends between a quote and the space that follows it."""
    words = re.sub(r'(?<=\s)" ', '"\u00a0', shown(step_in_words(moment.trace, moment.step)))
    lines = prose(words, min(moment.width, READABLE), hanging=0)
    return [Text(line.plain.replace("\u00a0", " ")) for line in lines]
