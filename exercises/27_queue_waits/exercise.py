"""A queue on a virtual clock: how long each request waits.

Where the engine does it: `simulate_queue` in minillm/estimate/queueing.py, whose means agree with the formulas of
queueing theory; `minillm estimate serve --rps 110` does it with the engine's own scheduler.
"""


# %% learner
def queue_waits(arrivals: list[float], services: list[float], servers: int) -> list[float]:
    """Seconds that each request waits in one queue in front of several servers.

    They are served in the order in which they arrive; each goes to the server that is free first. A server serves one
    request at a time, and never stops in the middle.

    arrivals: when each request comes, in seconds from 0.0 on, in ascending order.
    services: how many seconds it takes, once somebody has begun with it.
    servers: how many there are, at least 1; all are free at the beginning.
    returns: for each request, in the same order, the seconds from its arrival until its service begins.
    """
    # %% solution
    free, waits = [0.0] * servers, []  # when each server is free again
    for arrival, service in zip(arrivals, services, strict=True):
        server = free.index(min(free))
        start = max(arrival, free[server])
        free[server] = start + service
        waits.append(start - arrival)
    return waits


# %% hints
HINTS = (
    "The clock need not tick: it is enough to know, for each server, when it is free again. Then the next request's "
    "start is known at once.",
    "free is a list of one time for each server; the result has as many numbers as there are requests.",
    "1. all servers are free at 0.0; 2. for each request: the server that is free first; 3. it starts when both are "
    "there, the request and the server; 4. note when that server is free again; 5. the wait is start minus arrival.",
    "start = max(arrival, free[server])",
)


# %% check
import numpy as np  # noqa: E402

LESSON = 11
CONCEPTS = ("queue", "latency")


def cases(random):
    yield {"arrivals": [2.0], "services": [1.0], "servers": 1}
    yield {"arrivals": [0.0, 0.0], "services": [2.0, 1.0], "servers": 1}
    yield {"arrivals": [0.0, 5.0], "services": [2.0, 1.0], "servers": 1}
    yield {"arrivals": [0.0, 5.0, 6.0], "services": [2.0, 3.0, 1.0], "servers": 1}
    yield {"arrivals": [0.0, 0.0, 0.0], "services": [4.0, 1.0, 1.0], "servers": 2}
    yield {"arrivals": [0.0, 0.0, 1.0, 1.0], "services": [4.0, 1.0, 1.0, 1.0], "servers": 2}
    yield {"arrivals": [0.0, 1.0, 2.0, 3.0, 4.0], "services": [2.0] * 5, "servers": 1}  # more than it can serve
    for requests, servers in ((5, 1), (6, 2), (7, 3), (9, 2)):
        arrivals = np.cumsum(random.integers(0, 4, requests) / 2).tolist()
        yield {"arrivals": arrivals, "services": (random.integers(1, 9, requests) / 2).tolist(), "servers": servers}


def nobody_starts_before_they_come(inputs, result, run):
    """No wait is negative."""
    return all(wait >= 0 for wait in result)


def never_more_at_once_than_servers(inputs, result, run):
    """At no time more requests are being served than there are servers."""
    starts = [arrival + wait for arrival, wait in zip(inputs["arrivals"], result, strict=True)]
    ends = [start + service for start, service in zip(starts, inputs["services"], strict=True)]
    return all(
        sum(one <= start < end for one, end in zip(starts, ends, strict=True)) <= inputs["servers"] for start in starts
    )


def enough_servers_no_queue(inputs, result, run):
    """With a server for every request nobody waits."""
    return run(servers=len(inputs["arrivals"])) == [0.0] * len(inputs["arrivals"])


PROPERTIES = (nobody_starts_before_they_come, never_more_at_once_than_servers, enough_servers_no_queue)
