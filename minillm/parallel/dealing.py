"""Data parallelism: every rank but the first has the whole model, and rank 0 deals the items out as ranks become free.

    rank 0    deals, and takes in the results          item 0 -> 1    item 1 -> 2    result 1 <- 2    item 2 -> 2
    rank 1    computes items 0, ...                    it asks for an item whenever it has room for one more
    rank 2    computes items 1, 2, ...

Rank 0 computes nothing, so that no rank waits for an item. It sleeps between messages: start one rank more than
there are processors or hosts to compute. Items and results are Python values.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from minillm.parallel.ranks import Ranks

ASK, RESULT, END = "ask", "result", "end"  # what a rank tells rank 0: one message each
TO_RANK_0, TO_RANK = 1, 2  # tags


def deal(ranks: Ranks, items: Iterable[Any], take: Callable[[Any], Any]) -> list[Any]:
    """Deal out the items on rank 0, in order, each to the rank that asks next.

    Args:
        ranks: the processes; there are at least two.
        items: taken one at a time, so there may be millions.
        take: called with each result, in the order in which they come.

    Returns:
        what each rank gave to `end`, in the order of the ranks from 1.
    """
    left, ended = iter(items), dict[int, Any]()
    while len(ended) < ranks.size - 1:
        (kind, value), rank = ranks.receive_value(tag=TO_RANK_0)
        if kind == ASK:
            ranks.send_value(next(left, None), rank, TO_RANK)
        elif kind == RESULT:
            take(value)
        else:
            ended[rank] = value
    return [ended[rank] for rank in sorted(ended)]


def dealt(ranks: Ranks) -> Iterator[Any]:
    """Yield the items that rank 0 deals to this rank. It asks for the next one only when the caller does."""
    while True:
        ranks.send_value((ASK, None), 0, TO_RANK_0)
        item, _ = ranks.receive_value(0, TO_RANK)
        if item is None:
            return
        yield item


def give(ranks: Ranks, result: Any) -> None:
    """Send a result to rank 0, which calls `take` with it."""
    ranks.send_value((RESULT, result), 0, TO_RANK_0)


def end(ranks: Ranks, summary: Any = None) -> None:
    """Tell rank 0 that this rank has no more results."""
    ranks.send_value((END, summary), 0, TO_RANK_0)
