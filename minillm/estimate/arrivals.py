"""Arrivals: when requests arrive and how long they are: at random, in bursts, or as recorded in a trace."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Float
from minillm.estimate.units import Number

LATEST_S, MOST_ARRIVALS = 1e9, 100_000  # 1e9 s are 30 years; simulating 100,000 requests takes minutes


@dataclass(frozen=True)
class Arrival:
    """One request: its arrival in seconds, its prompt in tokens, and its number of new tokens."""

    at_s: float
    prompt: int
    new_tokens: int


def poisson_times_s(rate: Number, count: int, generator: np.random.Generator) -> Float[Array, "count"]:
    """Return `count` arrival times in seconds, at a mean of `rate` per second, each independent of all others."""
    return np.cumsum(generator.exponential(1 / rate, count))


def burst_times_s(rate: Number, count: int, burst: int, generator: np.random.Generator) -> Float[Array, "count"]:
    """Return `count` arrival times at the same mean rate, but with `burst` requests arriving at once."""
    bursts = -(-count // burst)
    return np.repeat(poisson_times_s(rate / burst, bursts, generator), burst)[:count]


def alike(times_s: Float[Array, "count"], prompt: int, new_tokens: int) -> list[Arrival]:
    """Return requests of equal length that arrive at these times."""
    return [Arrival(float(time), prompt, new_tokens) for time in times_s]


def read_trace(lines: Iterable[str]) -> list[Arrival]:
    """Read a trace: CSV with the columns `at_s,prompt,new_tokens`, in order of time.

    Raises:
        ValueError: a column is missing, a line is not three numbers in range, or its time is before the last line's.
    """
    rows = csv.DictReader(lines)
    if not {"at_s", "prompt", "new_tokens"} <= set(rows.fieldnames or ()):
        raise ValueError("trace: expected a first line with the columns at_s,prompt,new_tokens")
    arrivals: list[Arrival] = []
    for row in rows:
        arrivals.append(_arrival(row, rows.line_num, arrivals[-1].at_s if arrivals else 0.0))
        if len(arrivals) > MOST_ARRIVALS:
            raise ValueError(f"trace: expected at most {MOST_ARRIVALS:,} requests")
    if not arrivals:
        raise ValueError("trace: expected at least one request")
    return arrivals


def _arrival(row: dict[str, str], line: int, earliest: float) -> Arrival:
    try:
        arrival = Arrival(float(row["at_s"]), int(row["prompt"]), int(row["new_tokens"]))
    except (TypeError, ValueError):
        raise ValueError(f"trace, line {line}: expected a time in seconds and two integers") from None
    if not earliest <= arrival.at_s <= LATEST_S or min(arrival.prompt, arrival.new_tokens) < 1:
        raise ValueError(
            f"trace, line {line}: expected a time not before the last, at most {LATEST_S:g} s, and at least one token "
            "in prompt and in new_tokens"
        )
    return arrival
