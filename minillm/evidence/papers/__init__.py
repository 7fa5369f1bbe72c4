"""The papers' figures: what papers of the field publish, next to what minillm computes, counts or simulates.

A figure is *exact* (a closed form or a count: ours must round to it), a *trend* (a simulation reproduces its range and
ordering) or a *quote* (of another machine or model: there is no figure of ours). Where a paper contradicts itself, the
contradiction is shown.
"""

from importlib import import_module

from minillm.evidence.lookup import find_entry
from minillm.evidence.papers.ledger import Figure, Kind, Ours

__all__ = ["Figure", "Kind", "Ours", "all_figures", "find_figure"]

TOPICS = "layers attention paging sharing batching speculation quantization estimates quoted".split()


def all_figures() -> list[Figure]:
    """Return every figure, by topic."""
    modules = [import_module(f"minillm.evidence.papers.{name}") for name in TOPICS]
    return [figure for module in modules for figure in module.topic.figures]


def find_figure(id: str) -> Figure:
    """Return the figure with this id.

    Raises:
        ValueError: the id does not exist; the message names the closest one.
    """
    return find_entry(id, all_figures(), "figure", "minillm papers")
