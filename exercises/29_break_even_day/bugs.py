"""Wrong answers to `break_even_day`."""

_LONGEST = 100_000  # days; returned if the cost is never reached


def _day(training_dollars, costs):
    """Return the first day at the end of which the sum of the daily costs reaches the training cost."""
    spent = 0.0
    for day, dollars in enumerate(costs, start=1):
        spent += dollars
        if spent >= training_dollars or day >= _LONGEST:
            return day
    return _LONGEST


def _costs(calls, dollars_per_call, growth):
    while True:
        yield calls * dollars_per_call
        calls *= 1 + growth


def days_from_zero(training_dollars, calls, dollars_per_call, growth):
    """Days were counted from 0. The first day is day 1."""
    return _day(training_dollars, _costs(calls, dollars_per_call, growth)) - 1


def more_than_the_training(training_dollars, calls, dollars_per_call, growth):
    """The day is one too late if the sum equals the training cost exactly. Use at least as much, not more."""
    spent, day = 0.0, 0
    while spent <= training_dollars:
        day += 1
        spent += calls * dollars_per_call
        calls *= 1 + growth
    return day


def growth_missing(training_dollars, calls, dollars_per_call, growth):
    """The number of calls stayed the same. It grows from day to day."""
    return _day(training_dollars, _costs(calls, dollars_per_call, 0.0))


def growth_before_the_first_day(training_dollars, calls, dollars_per_call, growth):
    """The calls already grew before day 1. Day 1 has `calls` calls; the growth begins on day 2."""
    return _day(training_dollars, _costs(calls * (1 + growth), dollars_per_call, growth))


def linear_growth(training_dollars, calls, dollars_per_call, growth):
    """The same number of calls was added each day. Growth is relative to the day before, so it compounds."""
    return _day(training_dollars, (calls * (1 + growth * day) * dollars_per_call for day in range(_LONGEST)))


def one_days_cost(training_dollars, calls, dollars_per_call, growth):
    """The cost of one day was compared with the training. Compare the sum of all days so far."""
    for day in range(1, _LONGEST):
        if calls * dollars_per_call >= training_dollars:
            return day
        calls *= 1 + growth
    return _LONGEST


def calls_instead_of_dollars(training_dollars, calls, dollars_per_call, growth):
    """The number of calls was compared with dollars. Each call costs dollars_per_call."""
    return _day(training_dollars, _costs(calls, 1.0, growth))


def last_day_without_break_even(training_dollars, calls, dollars_per_call, growth):
    """That is the last day *before* the cost is reached. Return the first day on which it is reached."""
    spent, day = 0.0, 0
    while spent + calls * dollars_per_call <= training_dollars:
        day += 1
        spent += calls * dollars_per_call
        calls *= 1 + growth
    return day
