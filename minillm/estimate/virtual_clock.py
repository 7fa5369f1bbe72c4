"""A virtual clock: requests arrive at replicas of a server, whose forward passes take as long as an estimate says.

A discrete-event simulation: nothing happens between one event and the next, so the clock jumps. Events are a
request's arrival and the end of a forward pass. The replicas decide what each pass computes: with
`batching.VirtualEngine` as the engine's own scheduler does, with `VirtualStaticBatching` as static batching does.
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
        """Whether a request is not finished yet."""

    def submit(self, prompt: int, new_tokens: int) -> Any:
        """A new request, of so many tokens."""

    def step(self) -> Any:
        """The next pass: its `.batch`, and the requests that then `.got_token` or are `.finished`."""


@dataclass
class Record:
    """One request: when it came, got its first and last token and was answered; the longest pause between tokens."""

    arrival: Arrival
    first_token_s: float = -1.0
    last_token_s: float = -1.0
    finished_s: float = -1.0
    longest_gap_s: float = 0.0

    def add_token(self, now: float) -> None:
        """Another token is there."""
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
    waiting: dict[int, Record] = field(default_factory=dict)  # by the identity of the replica's own request

    @property
    def arrivals_s(self) -> Float[Array, "requests"]:
        """When they came."""
        return np.array([record.arrival.at_s for record in self.records])

    @property
    def finishes_s(self) -> Float[Array, "requests"]:
        """When they were answered."""
        return np.array([record.finished_s for record in self.records])

    @property
    def ttft_s(self) -> Float[Array, "requests"]:
        """Time to first token, queueing included."""
        return np.array([record.first_token_s for record in self.records]) - self.arrivals_s

    @property
    def tpot_s(self) -> Float[Array, "requests"]:
        """Time per output token after the first; 0 for an answer of one."""
        spans = np.array([record.last_token_s - record.first_token_s for record in self.records])
        return spans / np.maximum([record.arrival.new_tokens - 1 for record in self.records], 1)

    @property
    def latency_s(self) -> Float[Array, "requests"]:
        """From arrival to answer."""
        return self.finishes_s - self.arrivals_s

    @property
    def longest_gap_s(self) -> float:
        """The longest pause between two tokens that any request saw."""
        return max(record.longest_gap_s for record in self.records)

    @property
    def span_s(self) -> float:
        """From the first arrival to the last answer."""
        return float(self.finishes_s.max() - self.arrivals_s[0])

    @property
    def tokens_per_s(self) -> float:
        """New tokens of all requests, over the whole span."""
        return self.tokens / self.span_s

    @property
    def utilisation(self) -> float:
        """The share of time that a replica was busy."""
        return self.busy_s / (self.replicas * self.span_s)

    @property
    def mean_number(self) -> Number:
        """Requests in the system, averaged over time."""
        return mean_number_in_system(self.arrivals_s, self.finishes_s)


def simulate_serving(replicas: Sequence[Replica], arrivals: Sequence[Arrival], step_s: StepSeconds) -> ServingRun:
    """Serve all arrivals; each goes to the replica that has the fewest requests, by the clock.

    A replica decides at the beginning of a pass what will be finished after it; until then those requests are there.

    Args:
        replicas: the servers, idle.
        arrivals: in order of time.
        step_s: seconds that a forward pass over this batch takes.
    """
    run = ServingRun([Record(arrival) for arrival in arrivals], len(replicas))
    ends: list[tuple[float, int, Any]] = []  # passes that are being made: end, replica, outcome; a heap
    busy: set[int] = set()
    inside = [0] * len(replicas)  # requests of each that are not answered yet

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
    """The roofline's time of a pass."""
    return lambda batch: forward_time(serving, [Tokens(*tokens) for tokens in batch]).seconds


def replicas_needed(
    make: Callable[[], Replica],
    arrivals: Sequence[Arrival],
    step_s: StepSeconds,
    target_s: Number,
    percentile: Number = 95,
    most: int = 64,
) -> int | None:
    """The fewest replicas whose time to first token keeps to the target at this percentile; None beyond `most`.

    More replicas let nobody wait longer, so doubling and then halving finds them in few simulations.
    """

    def suffice(count: int) -> bool:
        run = simulate_serving([make() for _ in range(count)], arrivals, step_s)
        return bool(np.percentile(run.ttft_s, percentile) <= target_s)

    for count in doubling(1, most):
        if suffice(count):
            fewer = range(count // 2 + 1, count)
            return fewer.start + bisect_left(fewer, True, key=suffice)
    return None
