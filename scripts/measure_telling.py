"""Measure what events cost where nobody records: `python scripts/measure_telling.py`.

A decode step asks a few times whether somebody listens, and an engine makes events for its own `Statistics`. The
script counts both with a profiler, times each alone, and divides by the time of the fastest step without a profiler.
The difference of two whole runs would say nothing: it is less than the noise between two runs of the same code.
"""

import sys
import timeit
from collections import Counter

import minillm
from minillm import events

STEPS = 200


def generate(model):
    """Return a function that runs a decode step of `generate`."""
    steps = minillm.stream(model, "Once upon a time", STEPS, minillm.Sampling(ignore_eos=True))
    return lambda: next(steps)


def engine(model):
    """Return a function that runs a decode step of an engine with one request."""
    running = minillm.Engine(model)
    running.submit("Once upon a time", STEPS, minillm.Sampling(ignore_eos=True))
    return running.step


def counted(step):
    """Return how often one step asks for a listener, and how many events it makes."""
    found = Counter()

    def note(frame, event, argument):
        found["checks"] += event == "c_call" and argument == events.listener
        found["events"] += event == "call" and frame.f_code.co_name == "__init__" and made_here(frame)

    def made_here(frame):
        return isinstance(frame.f_locals.get("self"), events.Event)

    sys.setprofile(note)
    step()
    sys.setprofile(None)
    return found["checks"], found["events"]


def main():
    """Print a line for `generate` and one for an engine."""
    model = minillm.load("story")
    check = min(timeit.repeat(events.listener, number=100_000, repeat=5)) / 100_000
    make = lambda: events.tell(events.StepEnded(0, 1, 0, 512, 1, 0, 1, 1, 1))  # noqa: E731
    event = min(timeit.repeat(make, number=20_000, repeat=5)) / 20_000
    for begin in (generate, engine):
        step = begin(model)
        for _ in range(10):
            step()
        checks, made = counted(step)
        seconds = min(timeit.repeat(step, number=1, repeat=STEPS - 20))
        cost = checks * check + made * event
        print(
            f"{begin.__name__}: a step has {checks} checks and {made} events: {cost * 1e6:.2f} µs of "
            f"{seconds * 1e6:.0f} µs, {cost / seconds:.3%}"
        )


if __name__ == "__main__":
    main()
