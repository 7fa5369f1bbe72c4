"""Costs of a round of speculation, in decode steps of the target: from a table, or by the clock."""

from collections import defaultdict
from typing import Protocol, runtime_checkable

from minillm.backends.tiles import TiledWeight
from minillm.estimate.speculation import cpu_draft_cost, cpu_verify_cost
from minillm.model import Model
from minillm.speculative.drafters import Draft, Drafter, ModelDrafter

ENOUGH = 3  # measurements of a cost


@runtime_checkable
class Costs(Protocol):
    """Costs in decode steps of the target.

    Attributes:
        steps_first: how many plain decode steps should be made before any other, since they are what is counted in.
    """

    steps_first: int

    def draft(self) -> float:
        """Of one guess."""

    def verify(self, rows: int) -> float:
        """Of one forward pass with so many rows."""


class TableCosts:
    """Costs that are fixed when the model is loaded, whatever runs beside."""

    steps_first = 0

    def __init__(self, model: Model, drafter: Drafter) -> None:
        """From the two models' configs, and from how the target's weights lie."""
        self.tiled = isinstance(model.head, TiledWeight)
        self.draft_cost = 0.0
        if isinstance(drafter, ModelDrafter):
            self.draft_cost = cpu_draft_cost(drafter.model.config, model.config)

    def draft(self) -> float:
        """See Costs."""
        return self.draft_cost

    def verify(self, rows: int) -> float:
        """See Costs."""
        return cpu_verify_cost(rows, self.tiled)


class Shortest:
    """The shortest of some times, once there are enough of them: what else the machine does only makes them longer."""

    def __init__(self) -> None:
        """Of none yet."""
        self.count, self.seconds = 0, float("inf")

    def note(self, seconds: float) -> None:
        """One more."""
        self.count, self.seconds = self.count + 1, min(seconds, self.seconds)

    @property
    def known(self) -> bool:
        """One alone may have met anything."""
        return self.count >= ENOUGH


class MeasuredCosts:
    """Costs by the clock, where there are measurements enough; the table's until then."""

    steps_first = ENOUGH

    def __init__(self, table: TableCosts) -> None:
        """Nothing is measured yet."""
        self.table, self.guess = table, Shortest()
        self.passes: defaultdict[int, Shortest] = defaultdict(Shortest)  # by rows

    def note(self, draft: Draft, draft_s: float, verify_s: float) -> None:
        """A round took so many seconds. Those of a draft model that had to catch up are not those of a guess."""
        self.passes[len(draft.tokens) + 1].note(verify_s)
        if draft.tokens and draft.read <= 2:
            self.guess.note(draft_s / len(draft.tokens))

    def draft(self) -> float:
        """See Costs. Too few measurements can only make it less than in the table."""
        passes = self._known_passes()
        if not passes:
            return self.table.draft()
        measured = self.guess.seconds / self._step_s(passes)
        return measured if self.guess.known else min(measured, self.table.draft())

    def verify(self, rows: int) -> float:
        """See Costs. A width that is not known takes of the table what the nearest known one did, one step at least."""
        passes = self._known_passes()
        if not passes:
            return self.table.verify(rows)
        if rows in passes:
            return passes[rows] / self._step_s(passes)
        near = min(passes, key=lambda known: abs(known - rows))
        beyond_one = 1.0 if near == 1 else (self.verify(near) - 1) / (self.table.verify(near) - 1)
        return max(1.0, 1 + beyond_one * (self.table.verify(rows) - 1))

    def _known_passes(self) -> dict[int, float]:
        return {rows: time.seconds for rows, time in self.passes.items() if time.known}

    def _step_s(self, passes: dict[int, float]) -> float:
        """Seconds of one decode step; by the table, if only wider passes are known."""
        return passes.get(1) or min(s / self.table.verify(rows) for rows, s in passes.items())
