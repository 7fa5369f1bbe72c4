"""Lines of what happens to the blocks of paged caches."""

from typing import Any

from minillm import events
from minillm.events import Event
from minillm.trace.lines import pool_line
from minillm.trace.numbers import Numbers

Line = dict[str, Any]
ACTIONS = {
    "BlocksTaken": "take",
    "BlockCopied": "copy",
    "BlocksReleased": "release",
    "BlockPublished": "publish",
    "BlockUnpublished": "unpublish",
    "BlockEvicted": "evict",
}


class BlockLines:
    """Makes lines of events of blocks. The blocks of a second pool are numbered after those of the first."""

    def __init__(self, tables: Numbers) -> None:
        self._tables = tables
        self._pools = Numbers()
        self._first: list[int] = []  # number of each pool's first block
        self._blocks = 0  # of all pools

    def lines(self, event: Event) -> list[Line]:
        """Return the lines of an event: first those of what had not appeared before."""
        table: Any = getattr(event, "table", None)
        pool = table.pool if table is not None else event.pool  # type: ignore[attr-defined]
        described = self._describe(pool)
        blocks = list(event.blocks if hasattr(event, "blocks") else [event.block])  # type: ignore[attr-defined]
        if table is not None and table not in self._tables and not isinstance(event, events.BlocksShared):
            described += self._held_before(event, table, blocks)
        return [*described, self._line(event, table, pool, blocks)]

    def _line(self, event: Event, table: Any, pool: Any, blocks: list[int]) -> Line:
        number, source = None if table is None else self._tables.of(table), None
        do = ACTIONS.get(type(event).__name__, "hit")
        if isinstance(event, events.BlocksShared) and event.source is not None:
            do, source = "share", self._tables.of(event.source)
        if isinstance(event, events.BlockCopied):
            source = self._numbered(pool, event.source)
        return {
            "t": "block",
            "do": do,
            "table": number,
            "blocks": [self._numbered(pool, block) for block in blocks],
            "from": source,
        }

    def _numbered(self, pool: Any, block: int) -> int:
        return self._first[self._pools.of(pool)] + block

    def _describe(self, pool: Any) -> list[Line]:
        if pool in self._pools:
            return []
        self._pools.of(pool)
        self._first.append(self._blocks)
        self._blocks += pool.num_blocks
        return [pool_line(self._first[-1], pool)]

    def _held_before(self, event: Event, table: Any, blocks: list[int]) -> list[Line]:
        """Describe the blocks that a table held before the recording began."""
        held = list(table.table)
        if isinstance(event, events.BlocksTaken):
            held = held[: len(held) - len(blocks)]
        elif isinstance(event, events.BlocksReleased):
            held += blocks
        elif isinstance(event, events.BlockCopied):
            held[held.index(event.block)] = event.source
        if not held:
            return []
        numbers = [self._numbered(table.pool, block) for block in held]
        return [{"t": "block", "do": "share", "table": self._tables.of(table), "blocks": numbers, "from": None}]
