"""Continuous batching: who takes part in each step.

Where the engine does it: `Scheduler` in minillm/batching/scheduler.py. A request joins as soon as there is a place and
leaves as soon as it is finished; nobody waits for the longest of a batch (Yu et al., Orca, OSDI 2022).
"""


# %% learner
def continuous_batch(arrivals: list[int], lengths: list[int], places: int) -> list[list[int]]:
    """The requests that run in each step, first come, first served.

    arrivals: request i is there from step arrivals[i] on; in ascending order.
    lengths: request i runs for lengths[i] steps, at least 1.
    places: how many requests can run in one step.
    returns: for step 0, 1, 2, ... the numbers of the requests that run, in ascending order; a step in which nobody is
        there is an empty list. It ends with the step in which the last request finishes.
    """
    # %% solution
    left, steps = list(lengths), []
    running: list[int] = []
    while any(left):
        running = [number for number in running if left[number]]  # who is finished leaves
        there = [number for number, step in enumerate(arrivals) if step <= len(steps)]
        waiting = [number for number in there if left[number] and number not in running]
        running += waiting[: places - len(running)]
        for number in running:
            left[number] -= 1
        steps.append(sorted(running))
    return steps


# %% hints
HINTS = (
    "Before every step two things are decided anew: who leaves (those with nothing left), and who joins (the earliest "
    "of those that wait, as long as there are places).",
    "left is a list of steps that each request still needs; running a list of request numbers, never more than places.",
    "1. while somebody has steps left: 2. drop the finished from running; 3. find who is there, not finished, not "
    "running; 4. admit as many as there are places; 5. take one from each that runs; 6. note who ran.",
    "running += waiting[: places - len(running)]",
)


# %% check
LESSON = 7
CONCEPTS = ("batching", "scheduler")


def cases(random):
    yield {"arrivals": [0], "lengths": [1], "places": 1}
    yield {"arrivals": [0, 0], "lengths": [1, 2], "places": 1}
    yield {"arrivals": [0, 0], "lengths": [2, 1], "places": 2}
    yield {"arrivals": [0, 0, 0], "lengths": [3, 1, 1], "places": 2}
    yield {"arrivals": [1, 4], "lengths": [1, 1], "places": 2}
    for requests in (3, 4, 4, 5, 6, 7):
        yield {
            "arrivals": sorted(random.integers(0, requests, requests).tolist()),
            "lengths": random.integers(1, 5, requests).tolist(),
            "places": int(random.integers(1, 4)),
        }


def everyone_gets_its_steps(inputs, result, run):
    """Every request takes part in exactly as many steps as it needs."""
    return [sum(i in step for step in result) for i in range(len(inputs["lengths"]))] == inputs["lengths"]


def no_place_is_idle(inputs, result, run):
    """No place is empty while somebody waits."""
    for step, ran in enumerate(result):
        done = [sum(i in earlier for earlier in result[:step]) for i in range(len(inputs["lengths"]))]
        there = [i for i, at in enumerate(inputs["arrivals"]) if at <= step and done[i] < inputs["lengths"][i]]
        if len(ran) < min(inputs["places"], len(there)):
            return False
    return True


def never_more_than_places(inputs, result, run):
    """No step has more requests than places."""
    return all(len(step) <= inputs["places"] for step in result)


PROPERTIES = (never_more_than_places, everyone_gets_its_steps, no_place_is_idle)
