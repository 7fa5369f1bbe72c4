"""Queues: how long requests wait before service begins, by formula and by simulation on a virtual clock.

`rate` is arrivals per second, `service_s` the mean seconds of service; requests are served in order of arrival.
Formulas: Little's law (1961), Pollaczek-Khinchine for one server, Erlang C for several; any textbook of queueing
theory. They hold in a *steady state*, which exists only while fewer requests arrive than can be served.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Float
from minillm.estimate.units import Number


def utilisation(rate: Number, service_s: Number, servers: int = 1) -> Number:
    """Return the fraction of time that a server is busy; from 1 on the queue grows without bound."""
    return rate * service_s / servers


def overload_wait_s(rate: Number, capacity: Number, after_s: Number) -> Number:
    """Return the wait of a request that arrives after `after_s` seconds of overload.

    The server has to work off a backlog of (rate - capacity) * t: 110 requests/s into 100/s wait 1 s after 10 s.
    """
    return max(0.0, (rate - capacity) * after_s) / capacity


def mg1_wait_s(rate: Number, service_s: Number, squared_cv: Number) -> Number:
    """Return the mean wait at one server whose service has this squared coefficient of variation (Pollaczek-Khinchine).

    Raises:
        ValueError: no steady state.
    """
    rho = _steady(utilisation(rate, service_s))
    return (1 + squared_cv) / 2 * rho / (1 - rho) * service_s


def mm1_wait_s(rate: Number, service_s: Number) -> Number:
    """Return the mean wait at one server with exponential service."""
    return mg1_wait_s(rate, service_s, 1)


def md1_wait_s(rate: Number, service_s: Number) -> Number:
    """Return the mean wait at one server whose service always takes the same time: half of M/M/1."""
    return mg1_wait_s(rate, service_s, 0)


def erlang_c(servers: int, load: Number) -> Number:
    """Return the probability that an arrival finds all servers busy; `load` is rate * service_s, in servers.

    Raises:
        ValueError: no steady state.
    """
    _steady(load / servers)
    blocked = 1.0  # Erlang B, by its recursion over the servers, which cannot overflow
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def mmc_wait_s(rate: Number, service_s: Number, servers: int) -> Number:
    """Return the mean wait at several servers with one queue and exponential service."""
    return erlang_c(servers, rate * service_s) / (servers / service_s - rate)


def _steady(rho: Number) -> Number:
    if rho >= 1:
        raise ValueError(f"utilisation is {rho:.3g}: the queue has no steady state, it grows without bound")
    return rho


@dataclass(frozen=True)
class QueueRun:
    """All customers of a simulation; seconds on the virtual clock, customers in order of arrival."""

    arrivals_s: Float[Array, "customers"]
    starts_s: Float[Array, "customers"]
    finishes_s: Float[Array, "customers"]
    servers: int

    @property
    def waits_s(self) -> Float[Array, "customers"]:
        """Return each customer's seconds from arrival until service begins."""
        return self.starts_s - self.arrivals_s

    @property
    def span_s(self) -> Number:
        """Return the seconds from the first arrival to the last finish."""
        return float(self.finishes_s.max() - self.arrivals_s[0])

    @property
    def rate(self) -> Number:
        """Return the customers per second, over the whole span."""
        return len(self.arrivals_s) / self.span_s

    @property
    def utilisation(self) -> Number:
        """Return the fraction of time that a server was busy."""
        return float((self.finishes_s - self.starts_s).sum()) / (self.servers * self.span_s)

    @property
    def mean_number(self) -> Number:
        """Return the customers in the system, averaged over time; Little's law says rate * mean time in the system."""
        return mean_number_in_system(self.arrivals_s, self.finishes_s)


def mean_number_in_system(arrivals_s: Float[Array, "customers"], leaves_s: Float[Array, "customers"]) -> Number:
    """Return the number of customers in the system, averaged over time, by counting arrivals and departures."""
    times = np.concatenate([arrivals_s, leaves_s])  # [events]
    changes = np.concatenate([np.ones(len(arrivals_s)), -np.ones(len(leaves_s))])
    order = np.argsort(times, kind="stable")
    number = np.cumsum(changes[order])[:-1]  # between one event and the next
    seconds = np.diff(times[order])
    return float(number @ seconds / seconds.sum())


def simulate_queue(
    arrivals_s: Float[Array, "customers"], services_s: Float[Array, "customers"], servers: int = 1
) -> QueueRun:
    """Serve customers in order of arrival, each at the server that is free first."""
    if servers == 1:
        starts = _one_server(arrivals_s, services_s)
    else:
        starts = _several_servers(arrivals_s.tolist(), services_s.tolist(), servers)
    return QueueRun(arrivals_s, starts, starts + services_s, servers)


def _one_server(arrivals_s: Array, services_s: Array) -> Array:
    """Start each customer when all work before it since the server was last idle is done (Lindley's recursion)."""
    work_before = np.concatenate([[0.0], np.cumsum(services_s)[:-1]])
    return work_before + np.maximum.accumulate(arrivals_s - work_before)


def _several_servers(arrivals_s: Sequence[float], services_s: Sequence[float], servers: int) -> Array:
    free = [-math.inf] * servers  # when each server is free again; a heap, the earliest first
    starts = []
    for arrival, service in zip(arrivals_s, services_s, strict=True):
        start = max(arrival, free[0])
        heapq.heapreplace(free, start + service)
        starts.append(start)
    return np.array(starts)
