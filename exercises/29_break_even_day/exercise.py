"""The day on which the total cost of inference reaches the cost of the training.

Where the engine does it: `break_even_days` in minillm/estimate/cost.py, for a constant number of calls per day. Here
the number of calls grows. For this case the article says that inference costs more than training.
"""


# %% learner
def break_even_day(training_dollars: float, calls: float, dollars_per_call: float, growth: float) -> int:
    """Return the first day at the end of which inference has cost at least as much as the training.

    training_dollars: the cost of the training, paid once before day 1; above 0.
    calls: the number of calls on day 1; above 0.
    dollars_per_call: the cost of a call; above 0.
    growth: the relative growth of the calls from one day to the next: 0.0 for no growth, 0.5 for 50% more.
    returns: the number of that day, an int. Days are counted from 1.
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
    "Go through the days one by one and add up the cost of inference *so far*. Stop as soon as it reaches the cost of "
    "the training.",
    "Three single numbers: the dollars spent so far, the day, and the calls of the day.",
    "1. begin with 0 dollars and day 0; 2. while the dollars are less than the training: increment the day, add the "
    "cost of the day, then increase the calls; 3. return the day.",
    "while spent < training_dollars:",
)


# %% check
LESSON = 13
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


def reached_on_that_day_and_not_before(inputs, result, run):
    """At the end of that day the cost must be reached. At the end of the day before it must not be reached."""
    first, rate = inputs["calls"] * inputs["dollars_per_call"], 1 + inputs["growth"]
    spent = [sum(first * rate**past for past in range(days)) for days in (result - 1, result)]
    slack = 1e-9 * inputs["training_dollars"]
    return spent[0] < inputs["training_dollars"] + slack and spent[1] > inputs["training_dollars"] - slack


def growth_never_makes_it_later(inputs, result, run):
    """With more growth the day must not be later."""
    return run(growth=inputs["growth"] + 0.3) <= result  # on no day is the cost reached exactly


PROPERTIES = (reached_on_that_day_and_not_before, growth_never_makes_it_later)
