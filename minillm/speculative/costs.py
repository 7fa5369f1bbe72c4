"""Costs of a round of speculation, in decode steps of the target: from a table."""

from typing import Protocol, runtime_checkable

from minillm.backends.tiles import TiledWeight
from minillm.estimate.speculation import cpu_draft_cost, cpu_verify_cost
from minillm.model import Model
from minillm.speculative.drafters import Drafter, ModelDrafter


@runtime_checkable
class Costs(Protocol):
    """Costs in decode steps of the target."""

    def draft(self) -> float:
        """Of one guess."""

    def verify(self, rows: int) -> float:
        """Of one forward pass with so many rows."""


class TableCosts:
    """Costs that are fixed when the model is loaded, whatever runs beside."""

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
