"""Perfetto: the spans of a run in Chrome's JSON format, which ui.perfetto.dev opens.

The viewer drops spans that overlap on one lane. So a request has a lane of its own while it waits and runs; another
one may take it later. Without recorded seconds, each step takes a millisecond.
"""

from collections.abc import Iterator
from typing import Any

from minillm.trace.reader import Trace
from minillm.trace.words import letter

Line = dict[str, Any]
Event = dict[str, Any]
PROCESS, PASSES, DRAFTS, FIRST = 1, 0, 1, 2  # of the process, of its lanes


def chrome_trace(trace: Trace) -> dict[str, Any]:
    """Return the object to write as JSON."""
    return {"displayTimeUnit": "ms", "traceEvents": [*Spans(trace.header["clock"] == "seconds").of(trace)]}


class Spans:
    """Turns lines into spans and counters, with the lane and the begin of what is open."""

    def __init__(self, seconds: bool) -> None:
        self._seconds = seconds
        self._time = 0.0  # microseconds; where the last pass ended
        self._lanes: dict[int, int] = {}  # of each request that is not finished
        self._waits: dict[int, float] = {}  # since when each waiting request waits
        self._named = set[int]()

    def of(self, trace: Trace) -> Iterator[Event]:
        """Yield all events."""
        yield {"ph": "M", "pid": PROCESS, "name": "process_name", "args": {"name": "minillm"}}
        yield _lane_name(PASSES, "forward passes")
        yield _lane_name(DRAFTS, "draft passes")
        for line in trace.lines:
            if hear := getattr(self, f"_{line['t']}", None):
                yield from hear(line)

    def _request(self, line: Line) -> Iterator[Event]:
        lane = min(set(range(FIRST, FIRST + len(self._lanes) + 1)) - set(self._lanes.values()))
        self._lanes[line["id"]], self._waits[line["id"]] = lane, self._time
        if lane not in self._named:
            self._named.add(lane)
            yield _lane_name(lane, f"requests, lane {lane - FIRST + 1}")

    def _admit(self, line: Line) -> Iterator[Event]:
        yield from self._end_waiting(line["id"])

    def _preempt(self, line: Line) -> Iterator[Event]:
        self._waits[line["id"]] = self._time
        yield _instant(self._lanes[line["id"]], "preempted", self._time)

    def _finish(self, line: Line) -> Iterator[Event]:
        yield from self._end_waiting(line["id"])
        yield _instant(self._lanes.pop(line["id"]), f"request {letter(line['id'])}: {line['why']}", self._time)

    def _end_waiting(self, request: int) -> Iterator[Event]:
        began = self._waits.pop(request, self._time)
        if self._time > began:
            yield _span(self._lanes[request], f"request {letter(request)} waits", began, self._time - began, {})

    def _pass(self, line: Line) -> Iterator[Event]:
        if line["model"] and not self._seconds:
            return
        began, took = (line["began"] * 1e6, line["took"] * 1e6) if self._seconds else (self._time, 1000.0)
        self._time = began + took
        work = {name: line[name] for name in ("flops", "weight_bytes", "cache_bytes")}
        lane = DRAFTS if line["model"] else PASSES
        yield _span(lane, f"step {line['s']}", began, took, work | {"rows": len(line["rows"])})
        for row in () if line["model"] else line["rows"]:
            if row["id"] in self._lanes:
                counts = {name: row[name] for name in ("first", "count", "logits")}
                yield _span(self._lanes[row["id"]], f"request {letter(row['id'])}: {row['phase']}", began, took, counts)

    def _step(self, line: Line) -> Iterator[Event]:
        yield _counter("requests", self._time, {"running": line["running"], "waiting": line["waiting"]})
        yield _counter("blocks", self._time, {"used": line["used"]})


def _lane_name(lane: int, name: str) -> Event:
    return {"ph": "M", "pid": PROCESS, "tid": lane, "name": "thread_name", "args": {"name": name}}


def _span(lane: int, name: str, began: float, took: float, values: Line) -> Event:
    return {"ph": "X", "pid": PROCESS, "tid": lane, "name": name, "ts": began, "dur": took, "args": values}


def _instant(lane: int, name: str, time: float) -> Event:
    return {"ph": "i", "pid": PROCESS, "tid": lane, "name": name, "ts": time, "s": "t"}


def _counter(name: str, time: float, values: Line) -> Event:
    return {"ph": "C", "pid": PROCESS, "name": name, "ts": time, "args": values}
