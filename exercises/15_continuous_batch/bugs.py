"""Wrong answers to `continuous_batch`."""


def _schedule(arrivals, lengths, slots, admit, finished_by=0):
    left, steps, running = list(lengths), [], []
    while any(number > 0 for number in left):
        running = [number for number in running if left[number] > finished_by]
        arrived = [number for number, step in enumerate(arrivals) if step <= len(steps)]
        waiting = [number for number in arrived if left[number] > 0 and number not in running]
        running = running + admit(running, waiting, left)
        for number in running:
            left[number] -= 1
        steps.append(sorted(running))
    return steps


def static(arrivals, lengths, slots):
    """Slots stay idle until the whole batch is finished: that is static batching. Admit requests before every step."""
    return _schedule(arrivals, lengths, slots, lambda running, waiting, left: [] if running else waiting[:slots])


def finished_stay_a_step(arrivals, lengths, slots):
    """A finished request keeps its slot for one more step. Remove it before the next step is planned."""
    return _schedule(
        arrivals, lengths, slots, lambda running, waiting, left: waiting[: slots - len(running)], finished_by=-1
    )


def one_joins_at_a_time(arrivals, lengths, slots):
    """Only one request joined in a step. Admit requests until no slot is free."""

    def admit(running, waiting, left):
        return waiting[: min(1, slots - len(running))]

    return _schedule(arrivals, lengths, slots, admit)


def last_come_first_served(arrivals, lengths, slots):
    """The latest request was admitted first. Under load the earliest one would never run. Admit the earliest first."""

    def admit(running, waiting, left):
        return waiting[::-1][: slots - len(running)]

    return _schedule(arrivals, lengths, slots, admit)


def shortest_first(arrivals, lengths, slots):
    """The shortest request was admitted first. Under load a long one would never run. Admit in order of arrival."""

    def admit(running, waiting, left):
        return sorted(waiting, key=lambda number: left[number])[: slots - len(running)]

    return _schedule(arrivals, lengths, slots, admit)


def all_at_once(arrivals, lengths, slots):
    """More requests ran in a step than there are slots."""
    return _schedule(arrivals, lengths, slots, lambda running, waiting, left: waiting)


def arrivals_ignored(arrivals, lengths, slots):
    """A request ran before it had arrived."""
    return _schedule([0] * len(arrivals), lengths, slots, lambda r, waiting, left: waiting[: slots - len(r)])
