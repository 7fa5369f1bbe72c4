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

    def add(self, line: dict[str, Any]) -> None:
        """Append a line, and give it its step."""
        if line["t"] == "preempt":
            self._take_back_release(line["table"])
            line = {name: value for name, value in line.items() if name != "table"}
        if line.get("do") == "release" and self._was_tried_only(line):
            return
        if line["t"] == "pass" and not line["model"]:
            self.step, self._prepares = self.step + 1, False
        self._prepares |= line["t"] in PREPARES or line.get("do") in ACTIONS_THAT_PREPARE or line.get("model", 0) > 0
        self.lines.append({"t": line["t"], "s": self.step + self._prepares} | line)

    def add_first(self, line: dict[str, Any]) -> None:
        """Put a line before all that wait."""
        step = self.lines[0]["s"] if self.lines else self.step + self._prepares
        self.lines.insert(0, {"t": line["t"], "s": step} | line)

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
        """Return whether this empties a table that has just begun with shared blocks. Then drop the lines of that."""
        first, released = len(self.lines) - 1, len(release["blocks"])
        while first >= 0 and _is(self.lines[first], release["table"], "release"):
            released += len(self.lines[first]["blocks"])
            first -= 1
        if first < 0 or not _is(self.lines[first], release["table"], "hit", "share"):
            return False
        if released != len(self.lines[first]["blocks"]):
            return False
        del self.lines[first:]
        return True


def _is(line: dict[str, Any], table: int, *actions: str) -> bool:
    return line.get("do") in actions and line["table"] == table
