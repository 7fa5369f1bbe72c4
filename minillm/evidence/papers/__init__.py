"""The papers' figures: what the field's papers publish, beside what minillm computes, counts or simulates.

A figure is *exact* (a closed form or a count: ours must round to it), a *trend* (a simulation reproduces range and
ordering) or a *quote* (another machine's or model's: shown beside nothing). Where a paper does not agree with itself,
that is what is shown.
"""

from importlib import import_module

from minillm.evidence.lookup import find_entry
from minillm.evidence.papers.ledger import Figure, Kind, Ours

__all__ = ["Figure", "Kind", "Ours", "all_figures", "find_figure"]

TOPICS = "layers attention paging sharing batching speculation estimates quoted".split()


def all_figures() -> list[Figure]:
    """Every figure, by topic."""
    modules = [import_module(f"minillm.evidence.papers.{name}") for name in TOPICS]
    return [figure for module in modules for figure in module.topic.figures]


def find_figure(id: str) -> Figure:
    """The figure of this id.

    Raises:
        ValueError: there is none; the message names the closest.
    """
    return find_entry(id, all_figures(), "figure", "minillm papers")
