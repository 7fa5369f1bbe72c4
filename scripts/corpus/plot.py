"""What a plot is."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plot:
    """A story's course.

    Attributes:
        slots: from slot names ("spot wrong": two different entries) to the table that fills them.
        beats: one sentence or two each, in order; every beat is a choice of wordings, "" for leaving it out.
        animals: whether the hero may be an animal.
    """

    slots: dict[str, tuple[Any, ...]]
    beats: tuple[tuple[str, ...], ...]
    animals: bool = True
