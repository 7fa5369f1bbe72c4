"""Wrong answers to `continuous_batch`."""


def _schedule(arrivals, lengths, places, admit, finished_by=0):
    left, steps, running = list(lengths), [], []
    while any(number > 0 for number in left):
        running = [number for number in running if left[number] > finished_by]
        there = [number for number, step in enumerate(arrivals) if step <= len(steps)]
        waiting = [number for number in there if left[number] > 0 and number not in running]
        running = running + admit(running, waiting, left)
        for number in running:
            left[number] -= 1
        steps.append(sorted(running))
    return steps


def static(arrivals, lengths, places):
    """Places stay empty until the whole batch is finished: that is static batching. Let others join at every step."""
    return _schedule(arrivals, lengths, places, lambda running, waiting, left: [] if running else waiting[:places])


def finished_stay_a_step(arrivals, lengths, places):
    """A finished request keeps its place for a step: it leaves before the next one is put together."""
    return _schedule(
        arrivals, lengths, places, lambda running, waiting, left: waiting[: places - len(running)], finished_by=-1
    )


def one_joins_at_a_time(arrivals, lengths, places):
    """Only one request joined in a step: admit as many as there are places."""

    def admit(running, waiting, left):
        return waiting[: min(1, places - len(running))]

    return _schedule(arrivals, lengths, places, admit)


def last_come_first_served(arrivals, lengths, places):
    """The latest was admitted first: under load the earliest would wait for ever."""

    def admit(running, waiting, left):
        return waiting[::-1][: places - len(running)]

    return _schedule(arrivals, lengths, places, admit)


def shortest_first(arrivals, lengths, places):
    """The shortest was admitted first: a long request may be overtaken for ever. First come, first served."""

    def admit(running, waiting, left):
        return sorted(waiting, key=lambda number: left[number])[: places - len(running)]

    return _schedule(arrivals, lengths, places, admit)


def everybody_at_once(arrivals, lengths, places):
    """More requests ran in a step than there are places."""
    return _schedule(arrivals, lengths, places, lambda running, waiting, left: waiting)


def arrivals_ignored(arrivals, lengths, places):
    """A request ran before it had arrived."""
    return _schedule([0] * len(arrivals), lengths, places, lambda r, waiting, left: waiting[: places - len(r)])
