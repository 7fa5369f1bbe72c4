"""The day on which all answers so far have cost as much as the training.

Where the engine does it: `break_even_days` in minillm/estimate/cost.py, for a number of calls that stays the same.
Here it grows: that is the case for which the article says that inference, not training, is what a model costs.
"""


# %% learner
def break_even_day(training_dollars: float, calls: float, dollars_per_call: float, growth: float) -> int:
    """The first day at whose end inference has cost at least as much as the training.

    training_dollars: paid once, before day 1; above 0.
    calls: on day 1; above 0.
    dollars_per_call: what a call costs; above 0.
    growth: the share by which calls grow from one day to the next: 0.0 if they do not, 0.5 for half as many again.
    returns: the number of that day, an int; days are counted from 1.
    """
    # %% solution
    spent, day = 0.0, 0
    while spent < training_dollars:
        day += 1
        spent += calls * dollars_per_call
        calls *= 1 + growth
    return day


# %% hints
HINTS = (
    "Go through the days one by one and add up what inference has cost *so far*; stop as soon as it is enough.",
    "One number that grows (dollars so far), one that counts (the day), and the calls of the day.",
    "1. nothing spent, day 0; 2. while it is less than the training: next day, add the day's cost, then let the calls "
    "grow; 3. return the day.",
    "while spent < training_dollars:",
)


# %% check
LESSON = 12
CONCEPTS = ("cost", "training")


def cases(random):
    for numbers in (
        (10.0, 10.0, 1.0, 0.0), (20.0, 10.0, 1.0, 0.0), (25.0, 10.0, 1.0, 0.0), (30.0, 10.0, 1.0, 1.0),
        (31.0, 10.0, 1.0, 1.0), (45.0, 10.0, 1.0, 0.5), (700.0, 10.0, 1.0, 1.0), (700.0, 10.0, 0.5, 0.25),
        (100_000.0, 1e6, 0.01, 0.0),  # the article's
        (100_000.0, 1e4, 0.01, 0.0), (100_000.0, 1e4, 0.01, 0.01),
    ):  # fmt: skip
        yield _case(*numbers)
    for _ in range(4):
        training, calls = float(random.integers(1000, 9000)), float(random.integers(5, 50))
        yield _case(training, calls, 0.5, float(random.integers(1, 20)) / 64)


def _case(training_dollars, calls, dollars_per_call, growth):
    names = ("training_dollars", "calls", "dollars_per_call", "growth")
    return dict(zip(names, (training_dollars, calls, dollars_per_call, growth), strict=True))


def enough_on_that_day_and_not_before(inputs, result, run):
    """By the end of that day it is enough, and by the end of the day before it is not."""
    first, rate = inputs["calls"] * inputs["dollars_per_call"], 1 + inputs["growth"]
    spent = [sum(first * rate**past for past in range(days)) for days in (result - 1, result)]
    slack = 1e-9 * inputs["training_dollars"]
    return spent[0] < inputs["training_dollars"] + slack and spent[1] > inputs["training_dollars"] - slack


def growth_never_delays_it(inputs, result, run):
    """With more growth it is never later."""
    return run(growth=inputs["growth"] + 0.5) <= result


PROPERTIES = (enough_on_that_day_and_not_before, growth_never_delays_it)
