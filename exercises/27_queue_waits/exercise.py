"""A queue on a virtual clock: how long each request waits.

Where the engine does it: `simulate_queue` in minillm/estimate/queueing.py. Its mean waits agree with the formulas of
queueing theory. `minillm estimate serve --rps 110` simulates the engine's own scheduler.
"""


# %% learner
def queue_waits(arrivals: list[float], services: list[float], servers: int) -> list[float]:
    """Return the seconds that each request waits in one queue with several servers.

    Requests are served in the order of their arrival. Each request goes to the server that is free first. A server
    serves one request at a time, without interruption.

    arrivals: the arrival time of each request, in seconds, at least 0.0, in ascending order.
    services: the service time of each request, in seconds.
    servers: the number of servers, at least 1. All are free at the beginning.
    returns: for each request, in the same order, the seconds from its arrival until its service begins.
    """
    # %% solution
    free, waits = [0.0] * servers, []  # the time at which each server is free
    for arrival, service in zip(arrivals, services, strict=True):
        server = free.index(min(free))
        start = max(arrival, free[server])
        free[server] = start + service
        waits.append(start - arrival)
    return waits


# %% hints
HINTS = (
    "You need no clock. It is enough to know, for each server, the time at which it is free. This gives the start of "
    "the next request.",
    "free is a list with one time per server; the result has one number per request.",
    "1. all servers are free at 0.0; 2. for each request, find the server that is free first; 3. the service starts "
    "when the request has arrived and the server is free; 4. store the time at which this server is free again; 5. the "
    "wait is start minus arrival.",
    "start = max(arrival, free[server])",
)


# %% check
import numpy as np  # noqa: E402

LESSON = 12
CONCEPTS = ("queue", "latency")


def cases(random):
    yield {"arrivals": [2.0], "services": [1.0], "servers": 1}
    yield {"arrivals": [0.0, 0.0], "services": [2.0, 1.0], "servers": 1}
    yield {"arrivals": [0.0, 5.0], "services": [2.0, 1.0], "servers": 1}
    yield {"arrivals": [0.0, 5.0, 6.0], "services": [2.0, 3.0, 1.0], "servers": 1}
    yield {"arrivals": [0.0, 0.0, 0.0], "services": [4.0, 1.0, 1.0], "servers": 2}
    yield {"arrivals": [0.0, 0.0, 1.0, 1.0], "services": [4.0, 1.0, 1.0, 1.0], "servers": 2}
    yield {"arrivals": [0.0, 1.0, 2.0, 3.0, 4.0], "services": [2.0] * 5, "servers": 1}  # overload
    for requests, servers in ((5, 1), (6, 2), (7, 3), (9, 2)):
        arrivals = np.cumsum(random.integers(0, 4, requests) / 2).tolist()
        yield {"arrivals": arrivals, "services": (random.integers(1, 9, requests) / 2).tolist(), "servers": servers}


def no_wait_is_negative(inputs, result, run):
    """No wait may be negative."""
    return all(wait >= 0 for wait in result)


def never_more_than_servers(inputs, result, run):
    """At no time may more requests be in service than there are servers."""
    starts = [arrival + wait for arrival, wait in zip(inputs["arrivals"], result, strict=True)]
    ends = [start + service for start, service in zip(starts, inputs["services"], strict=True)]
    return all(
        sum(one <= start < end for one, end in zip(starts, ends, strict=True)) <= inputs["servers"] for start in starts
    )


def enough_servers_no_queue(inputs, result, run):
    """With one server per request, all waits must be 0."""
    return run(servers=len(inputs["arrivals"])) == [0.0] * len(inputs["arrivals"])


PROPERTIES = (no_wait_is_negative, never_more_than_servers, enough_servers_no_queue)


def engine(arrivals, services, servers):
    from minillm.estimate.queueing import simulate_queue

    run = simulate_queue(np.array(arrivals), np.array(services), servers)
    return list(map(float, run.waits_s))
