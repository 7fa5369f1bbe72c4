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
    """That is the time until the request is *finished*. The wait ends when the service begins."""
    return _waits(arrivals, services, servers, counted=1.0)


def starts_before_arrival(arrivals, services, servers):
    """A service started before the request arrived. It starts when the request has arrived and a server is free."""
    return _waits(arrivals, services, servers, begin=lambda arrival, free: free)


def no_queue(arrivals, services, servers):
    """No request waits for another one. A busy server must finish its request first."""
    return _waits(arrivals, services, servers, begin=lambda arrival, free: arrival)


def idle_time_ignored(arrivals, services, servers):
    """The service times of a server were added without its idle times. The server is free at start + service."""
    free, waits = [0.0] * servers, []
    for arrival, service in zip(arrivals, services, strict=True):
        server = free.index(min(free))
        waits.append(max(arrival, free[server]) - arrival)
        free[server] += service
    return waits


def round_robin(arrivals, services, servers):
    """Requests went to the servers in turn. Then a request can wait although another server is free."""
    return _waits(arrivals, services, servers, choose=lambda free, number: number % servers)


def one_server(arrivals, services, servers):
    """Only one server was used. Choose the server that is free first."""
    return _waits(arrivals, services, 1)


def one_fast_server(arrivals, services, servers):
    """The servers were replaced by one faster server. Each service takes its full time, but several overlap."""
    return _waits(arrivals, [service / servers for service in services], 1)


def shortest_first(arrivals, services, servers):
    """The shortest request was served first. Serve them in the order of their arrival."""
    order = sorted(range(len(arrivals)), key=lambda number: (arrivals[number], services[number]))
    waits = _waits([arrivals[number] for number in order], [services[number] for number in order], servers)
    return [wait for _, wait in sorted(zip(order, waits, strict=True))]
