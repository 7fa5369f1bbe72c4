"""Pending: the lines that wait for their step's pass. They are written with it, so that a file has steps, not halves.

A step begins where something prepares a pass: a draft, blocks, an admission. What follows the pass belongs to its step:
tokens, verdicts, published blocks, the end of a request. One thing is told before it can be seen where it belongs:

    release, preempt      blocks are given back *because* the request is preempted: both belong to the next step
    hit, release          a request was tried, and does not fit: nothing happened, and neither line is written
"""

from typing import Any

PREPARES = ("admit", "preempt", "draft")
ACTIONS_THAT_PREPARE = ("take", "hit", "share", "copy", "evict", "unpublish")


class Pending:
    """Lines in order, each with its step.

    Attributes:
        step: the number of passes so far.
        lines: those that are not written yet.
    """

    def __init__(self) -> None:
        self.step = 0
        self.lines: list[dict[str, Any]] = []
        self._prepares = False  # whether the lines belong to the next pass

    @property
    def now(self) -> int:
        """The step that a line belongs to now."""
        return self.step + self._prepares

    def add(self, line: dict[str, Any]) -> None:
        """Append a line, and give it its step."""
        if line["t"] == "preempt":
            self._take_back_release(line.pop("table"))
        if line.get("do") == "release" and self._was_tried_only(line):
            return
        self._prepares |= line["t"] in PREPARES or line.get("do") in ACTIONS_THAT_PREPARE or line.get("model", 0) > 0
        kind = line.pop("t")
        self.lines.append({"t": kind, "s": self.now, **line})

    def add_pass(self, line: dict[str, Any]) -> None:
        """Append the line of a pass of the model that answers: it ends what prepared it."""
        self.step, self._prepares = self.step + 1, False
        self.add(line)

    def take(self) -> list[dict[str, Any]]:
        """Return the lines, and keep none of them."""
        lines, self.lines = self.lines, []
        return lines

    def _take_back_release(self, table: int | None) -> None:
        """Count the release before a preemption as a part of it, so the next step begins there."""
        last = self.lines[-1] if self.lines else {}
        if last.get("do") == "release" and last["table"] == table:
            last["s"] = self.step + 1

    def _was_tried_only(self, release: dict[str, Any]) -> bool:
        """Whether this releases what the last lines have just shared with the table. Then drop those lines, too."""
        own = 0
        while own < len(self.lines) and self.lines[-1 - own].get("table") == release["table"]:
            own += 1
        tail = self.lines[len(self.lines) - own :]
        if not tail or tail[0].get("do") not in ("hit", "share"):
            return False
        held = len(tail[0]["blocks"]) - sum(len(line["blocks"]) for line in tail[1:] if line["do"] == "release")
        if any(line["do"] != "release" for line in tail[1:]) or held != len(release["blocks"]):
            return False
        del self.lines[len(self.lines) - own :]
        return True
