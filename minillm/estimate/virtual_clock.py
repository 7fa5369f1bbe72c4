"""A virtual clock: requests arrive at replicas of a server, and an estimate says how long each forward pass takes.

This is a discrete-event simulation: nothing happens between two events, so the clock jumps. Events are the arrival of
a request and the end of a forward pass. The replicas decide what each pass computes: `batching.VirtualEngine` as the
engine's own scheduler does, `VirtualStaticBatching` as static batching does.
"""

import heapq
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol, runtime_checkable

import numpy as np

from minillm.arrays import Array, Float
from minillm.estimate.arrivals import Arrival
from minillm.estimate.queueing import mean_number_in_system
from minillm.estimate.serving import Serving, forward_time
from minillm.estimate.units import Number, doubling
from minillm.estimate.work import Tokens

Batch = Sequence[tuple[int, int, int]]  # for each sequence: new tokens, cached tokens, rows of logits
StepSeconds = Callable[[Batch], Number]


@runtime_checkable
class Replica(Protocol):
    """A server that makes one forward pass at a time."""

    @property
    def has_work(self) -> bool:
        """Return whether some request is unfinished."""

    def submit(self, prompt: int, new_tokens: int) -> Any:
        """Add a request with a prompt of `prompt` tokens that gets `new_tokens`."""

    def step(self) -> Any:
        """Run the next pass; return its `.batch`, and the requests that then `.got_token` or are `.finished`."""


@dataclass
class Record:
    """One request: times of arrival, first token, last token and finish, and the longest pause between two tokens."""

    arrival: Arrival
    first_token_s: float = -1.0
    last_token_s: float = -1.0
    finished_s: float = -1.0
    longest_gap_s: float = 0.0

    def add_token(self, now: float) -> None:
        """Record that another token was made at time `now`."""
        if self.first_token_s < 0:
            self.first_token_s = now
        else:
            self.longest_gap_s = max(self.longest_gap_s, now - self.last_token_s)
        self.last_token_s = now


@dataclass
class ServingRun:
    """What happened to all requests, in order of arrival."""

    records: list[Record]
    replicas: int
    busy_s: float = 0.0
    steps: int = 0
    tokens: int = 0
    waiting: dict[int, Record] = field(default_factory=dict)  # key: id() of the replica's own request

    @property
    def arrivals_s(self) -> Float[Array, "requests"]:
        """Return the arrival times."""
        return np.array([record.arrival.at_s for record in self.records])

    @property
    def finishes_s(self) -> Float[Array, "requests"]:
        """Return the times when they finished."""
        return np.array([record.finished_s for record in self.records])

    @property
    def ttft_s(self) -> Float[Array, "requests"]:
        """Return the times to first token, including the wait in the queue."""
        return np.array([record.first_token_s for record in self.records]) - self.arrivals_s

    @property
    def tpot_s(self) -> Float[Array, "requests"]:
        """Return the times per output token after the first; 0 for an answer of one token."""
        spans = np.array([record.last_token_s - record.first_token_s for record in self.records])
        return spans / np.maximum([record.arrival.new_tokens - 1 for record in self.records], 1)

    @property
    def latency_s(self) -> Float[Array, "requests"]:
        """Return the times from arrival to finish."""
        return self.finishes_s - self.arrivals_s

    @property
    def longest_gap_s(self) -> float:
        """Return the longest pause between two tokens of any request."""
        return max(record.longest_gap_s for record in self.records)

    @property
    def span_s(self) -> float:
        """Return the time from the first arrival to the last finish."""
        return float(self.finishes_s.max() - self.arrivals_s[0])

    @property
    def tokens_per_s(self) -> float:
        """Return the new tokens of all requests per second, over the whole span."""
        return self.tokens / self.span_s

    @property
    def utilisation(self) -> float:
        """Return the fraction of time that a replica was busy."""
        return self.busy_s / (self.replicas * self.span_s)

    @property
    def mean_number(self) -> Number:
        """Return the requests in the system, averaged over time."""
        return mean_number_in_system(self.arrivals_s, self.finishes_s)


def simulate_serving(replicas: Sequence[Replica], arrivals: Sequence[Arrival], step_s: StepSeconds) -> ServingRun:
    """Serve all arrivals; each goes to the replica with the fewest requests at that time.

    A replica decides at the beginning of a pass which requests finish; they count as unfinished until the pass ends.

    Args:
        replicas: the servers, idle.
        arrivals: in order of time.
        step_s: returns the seconds that a forward pass over a batch takes.
    """
    run = ServingRun([Record(arrival) for arrival in arrivals], len(replicas))
    ends: list[tuple[float, int, Any]] = []  # running passes: end, replica, outcome; a heap
    busy: set[int] = set()
    inside = [0] * len(replicas)  # unfinished requests of each replica

    def begin(number: int, now: float) -> None:
        if number in busy or not replicas[number].has_work:
            return
        outcome = replicas[number].step()
        seconds = float(step_s(outcome.batch))
        run.busy_s, run.steps = run.busy_s + seconds, run.steps + 1
        busy.add(number)
        heapq.heappush(ends, (now + seconds, number, outcome))

    def end() -> None:
        now, number, outcome = heapq.heappop(ends)
        busy.remove(number)
        inside[number] -= len(outcome.finished)
        _record(run, outcome, now)
        begin(number, now)

    for now, together in groupby(run.records, lambda record: record.arrival.at_s):
        while ends and ends[0][0] <= now:
            end()
        for record in together:
            chosen = inside.index(min(inside))
            inside[chosen] += 1
            request = replicas[chosen].submit(record.arrival.prompt, record.arrival.new_tokens)
            run.waiting[id(request)] = record
        for number in range(len(replicas)):
            begin(number, now)
    while ends:
        end()
    return run


def _record(run: ServingRun, outcome: Any, now: float) -> None:
    run.tokens += len(outcome.got_token)
    for request in outcome.got_token:
        run.waiting[id(request)].add_token(now)
    for request in outcome.finished:
        run.waiting.pop(id(request)).finished_s = now


def step_seconds(serving: Serving) -> StepSeconds:
    """Return a function that gives the roofline's time of a pass."""
    return lambda batch: forward_time(serving, [Tokens(*tokens) for tokens in batch]).seconds


def replicas_needed(
    make: Callable[[], Replica],
    arrivals: Sequence[Arrival],
    step_s: StepSeconds,
    target_s: Number,
    percentile: Number = 95,
    most: int = 64,
) -> int | None:
    """Return the fewest replicas whose time to first token meets the target at this percentile; None beyond `most`.

    More replicas never make a request wait longer, so doubling and then halving needs few simulations.
    """

    def suffice(count: int) -> bool:
        run = simulate_serving([make() for _ in range(count)], arrivals, step_s)
        return bool(np.percentile(run.ttft_s, percentile) <= target_s)

    for count in doubling(1, most):
        if suffice(count):
            fewer = range(count // 2 + 1, count)
            return fewer.start + bisect_left(fewer, True, key=suffice)
    return None
