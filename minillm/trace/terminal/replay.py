"""Replay: what a reader who steps through a run sees, and what each key does. It neither reads keys nor prints."""

from collections.abc import Sequence

from rich.text import Text

from minillm.support.wording import counted
from minillm.trace.reader import Trace
from minillm.trace.state import Line
from minillm.trace.terminal.frames import frame_parts
from minillm.trace.terminal.layout import folded, styled
from minillm.trace.terminal.moment import Moment
from minillm.trace.terminal.views import VIEWS
from minillm.trace.terminal.views.batch import SIGNS
from minillm.trace.terminal.views.text import newest_row

NARROWEST = 40  # columns; a narrower terminal folds the lines itself
KEYS = {"p": "pass", "c": "cache", "a": "attention", "h": "choice", "b": "batch", "s": "speculation", "t": "text"}
FORWARD, BACK = ("right", "enter", " ", "n"), ("left", "backspace")
LEAVE = ("q", "Q", "escape", "end of input")


class Replay:
    """A reader at a step of a run.

    Attributes:
        trace: the run.
        step, view: what is shown.
        views: those that have something to show.
        request, layer, head: what the reader chose with R, L and H; None before.
        above: lines of the view that are scrolled out of sight.
    """

    def __init__(self, trace: Trace, view: str | None = None) -> None:
        """Begin at the step before the first pass. `view` is by default the one that shows most of this run."""
        self.trace = trace
        self.views = [name for name in VIEWS if VIEWS[name].shows(trace)]
        self.step, self.view = 0, view or best_view(trace)
        self.request: int | None = None
        self.layer: int | None = None
        self.head: int | None = None
        self.above = 0

    @property
    def last(self) -> int:
        """The last step."""
        return len(self.trace.states.steps) - 1

    def press(self, key: str) -> bool:
        """Do what a key says, and return whether the reader stays. Other keys do nothing."""
        far = max(1, round(self.last / 10))
        steps = {"home": -self.step, "end": self.last, "page up": -far, "page down": far}
        steps |= dict.fromkeys(FORWARD, 1) | dict.fromkeys(BACK, -1)
        if key in steps:
            self.step = max(0, min(self.step + steps[key], self.last))
        elif key in ("up", "down"):
            self.above = max(0, self.above + (1 if key == "down" else -1))
        elif key in ("R", "L", "H"):
            self._choose({"R": "request", "L": "layer", "H": "head"}[key])
        else:
            self._show(key)
        return key not in LEAVE

    def _show(self, key: str) -> None:
        number = int(key) - 1 if key.isascii() and key.isdecimal() else -1
        view = self.views[number] if 0 <= number < len(self.views) else KEYS.get(key.lower())
        if view in self.views and view != self.view:
            self.view, self.above = view, 0

    def _choose(self, field: str) -> None:
        """Go on to the next request, layer or head that can be shown."""
        values = self._choices(field)
        now = getattr(self, field)
        if values:
            setattr(self, field, values[(values.index(now) + 1) % len(values) if now in values else 1 % len(values)])

    def _choices(self, field: str) -> Sequence[int]:
        if field == "request":
            return [*self.trace.state(self.step)["requests"]]
        return sorted({line[field] for line in self.trace.lines if line["t"] == "attention"})

    def screen(self, width: int, height: int) -> list[Text]:
        """Return the screen, at most `height` lines of `width` columns: views, strip, text, view, sentence, keys."""
        moment = Moment(self.trace, self.step, max(width, NARROWEST), self.request, self.layer, self.head)
        heading, body, sentence = frame_parts(moment, self.view)
        top = [*self._tabs(width), self._strip(width), heading, *([] if self.view == "text" else newest_row(moment))]
        most = max(1, height // 4)
        bottom = [*(sentence if len(sentence) <= most else [*sentence[: most - 1], Text("…")]), *self._keys(width)]
        room = max(1, height - len(top) - len(bottom))
        return [*top, *self._scrolled(body, room), *bottom][:height]

    def _scrolled(self, body: list[Text], room: int) -> list[Text]:
        """Return the part of a view that the screen has room for, and how much there is above and below it."""
        if len(body) <= room:
            self.above = 0
            return body + [Text()] * (room - len(body))
        self.above = min(self.above, len(body) - room + 1)
        shown = body[self.above : self.above + room - 1]
        below = len(body) - self.above - len(shown)
        more = [f"{sign} {counted(count, 'more line')}" for sign, count in (("↑", self.above), ("↓", below)) if count]
        return [*shown, Text("   ".join(more), "reverse")]

    def _tabs(self, width: int) -> list[Text]:
        """Return the names of the views, each with its key; brackets mark the one that is shown."""
        names = [f"[{name}]" if name == self.view else f" {name} " for name in self.views]
        keys = [next(key for key, view in KEYS.items() if view == name) for name in self.views]
        lines = folded([f"{key}{name}" for key, name in zip(keys, names, strict=True)], width, style="")
        for line in lines:
            line.highlight_words([f"[{self.view}]"], "bold reverse")
        return lines

    def _strip(self, width: int) -> Text:
        """Return a sign for each step, of what ran in it, with this step in brackets."""
        first = max(0, min(self.step - width // 2, self.last - width + 3))
        steps = range(first, min(self.last + 1, first + width - 2))
        signs = "".join(sign_of(self.trace.states.steps[step]) for step in steps)
        at = self.step - first
        return styled(signs[:at], "dim") + Text(f"[{signs[at]}]", "bold reverse") + Text(signs[at + 1 :], "dim")

    def _keys(self, width: int) -> list[Text]:
        keys = ["→ Enter next", "← back", "Home End", "↑ ↓ scroll"]
        keys += ["R request"] if len(self.trace.requests) > 1 else []
        keys += ["L layer", "H head"] if self.view == "attention" else []
        return folded([*keys, "q quit"], width)


def best_view(trace: Trace) -> str:
    """Return the view that shows most of a run: speculation, a batch, or how each token was chosen."""
    if VIEWS["speculation"].shows(trace):
        return "speculation"
    if len(trace.requests) > 1:
        return "batch"
    return "choice" if VIEWS["choice"].shows(trace) else "pass"


def sign_of(lines: list[Line]) -> str:
    """Return the sign of what ran in a step: of its phase, M for several, a point for none."""
    phases = {row["phase"] for line in lines if line["t"] == "pass" and line["model"] == 0 for row in line["rows"]}
    return "M" if len(phases) > 1 else SIGNS[phases.pop()][0] if phases else "·"
