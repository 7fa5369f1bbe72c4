"""Continuous batching: which requests run in each step.

Where the engine does it: `Scheduler` in minillm/batching/scheduler.py. A request joins as soon as a batch slot is free
and leaves as soon as it is finished. No request waits for the longest one of a batch (Yu et al., Orca, OSDI 2022).
"""


# %% learner
def continuous_batch(arrivals: list[int], lengths: list[int], slots: int) -> list[list[int]]:
    """Return the requests that run in each step. Requests are admitted in the order of their arrival.

    arrivals: request i can run from step arrivals[i] on; in ascending order.
    lengths: request i runs for lengths[i] steps, at least 1.
    slots: the largest number of requests that can run in one step.
    returns: for step 0, 1, 2, ... the list of the requests that run, in ascending order. A step in which no request
        can run is an empty list. The last step is the one in which the last request finishes.
    """
    # %% solution
    left, steps = list(lengths), []
    running: list[int] = []
    while any(left):
        running = [number for number in running if left[number]]  # finished requests leave
        arrived = [number for number, step in enumerate(arrivals) if step <= len(steps)]
        waiting = [number for number in arrived if left[number] and number not in running]
        running += waiting[: slots - len(running)]
        for number in running:
            left[number] -= 1
        steps.append(sorted(running))
    return steps


# %% hints
HINTS = (
    "Decide two things before every step. Finished requests leave. Then the earliest waiting requests join, as long as "
    "slots are free.",
    "left: a list with the remaining steps of each request. running: a list of request numbers, at most `slots` of "
    "them.",
    "1. while a request has steps left: 2. remove finished requests from running; 3. find the requests that have "
    "arrived, are not finished and do not run; 4. admit them while slots are free; 5. subtract one step from each "
    "running request; 6. append the running requests to the result.",
    "running += waiting[: slots - len(running)]",
)


# %% check
LESSON = 8
CONCEPTS = ("batching", "scheduler")


def cases(random):
    yield {"arrivals": [0], "lengths": [1], "slots": 1}
    yield {"arrivals": [0, 0], "lengths": [1, 2], "slots": 1}
    yield {"arrivals": [0, 0], "lengths": [2, 1], "slots": 2}
    yield {"arrivals": [0, 0, 0], "lengths": [3, 1, 1], "slots": 2}
    yield {"arrivals": [1, 4], "lengths": [1, 1], "slots": 2}
    for requests in (3, 4, 4, 5, 6, 7):
        yield {
            "arrivals": sorted(random.integers(0, requests, requests).tolist()),
            "lengths": random.integers(1, 5, requests).tolist(),
            "slots": int(random.integers(1, 4)),
        }


def every_request_gets_its_steps(inputs, result, run):
    """Every request i must run in exactly lengths[i] steps."""
    return [sum(i in step for step in result) for i in range(len(inputs["lengths"]))] == inputs["lengths"]


def no_slot_is_idle(inputs, result, run):
    """No slot may be idle while a request waits."""
    for step, ran in enumerate(result):
        done = [sum(i in earlier for earlier in result[:step]) for i in range(len(inputs["lengths"]))]
        ready = [i for i, at in enumerate(inputs["arrivals"]) if at <= step and done[i] < inputs["lengths"][i]]
        if len(ran) < min(inputs["slots"], len(ready)):
            return False
    return True


def never_more_than_slots(inputs, result, run):
    """A step must not have more requests than slots."""
    return all(len(step) <= inputs["slots"] for step in result)


PROPERTIES = (never_more_than_slots, every_request_gets_its_steps, no_slot_is_idle)
