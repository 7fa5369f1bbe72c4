"""Wrong answers to `queue_waits`."""


def _waits(arrivals, services, servers, choose=lambda free, number: free.index(min(free)), begin=max, counted=0.0):
    free, waits = [0.0] * servers, []
    for number, (arrival, service) in enumerate(zip(arrivals, services, strict=True)):
        server = choose(free, number)
        start = begin(arrival, free[server])
        free[server] = start + service
        waits.append(start - arrival + counted * service)
    return waits


def service_counted_as_wait(arrivals, services, servers):
    """That is the time until the request is *finished*: the wait ends when its service begins."""
    return _waits(arrivals, services, servers, counted=1.0)


def serves_who_is_not_there(arrivals, services, servers):
    """A request was begun with before it came: it starts when both are there, the request and a free server."""
    return _waits(arrivals, services, servers, begin=lambda arrival, free: free)


def nobody_in_the_way(arrivals, services, servers):
    """Nobody waits for anybody: a server that is busy must finish first."""
    return _waits(arrivals, services, servers, begin=lambda arrival, free: arrival)


def idle_time_made_up(arrivals, services, servers):
    """A server's services were added up without its idle times: it is free at start + service."""
    free, waits = [0.0] * servers, []
    for arrival, service in zip(arrivals, services, strict=True):
        server = free.index(min(free))
        waits.append(max(arrival, free[server]) - arrival)
        free[server] += service
    return waits


def in_turn(arrivals, services, servers):
    """Requests went to the servers in turn: one may wait behind a long request while another server is free."""
    return _waits(arrivals, services, servers, choose=lambda free, number: number % servers)


def one_server(arrivals, services, servers):
    """Only one server worked: choose the one that is free first, not the one that is free last."""
    return _waits(arrivals, services, 1)


def one_fast_server(arrivals, services, servers):
    """Several servers are no single faster one: a request takes as long as ever, only more are served at a time."""
    return _waits(arrivals, [service / servers for service in services], 1)


def shortest_first(arrivals, services, servers):
    """The shortest was taken first: they are served in the order in which they arrive."""
    order = sorted(range(len(arrivals)), key=lambda number: (arrivals[number], services[number]))
    waits = _waits([arrivals[number] for number in order], [services[number] for number in order], servers)
    return [wait for _, wait in sorted(zip(order, waits, strict=True))]
