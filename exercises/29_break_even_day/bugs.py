"""Wrong answers to `break_even_day`."""

_LONGEST = 100_000  # days: what never comes is told as this


def _day(training_dollars, costs):
    """The first day by whose end these costs, day by day, are enough."""
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
    """Days were counted from 0: the first one is day 1."""
    return _day(training_dollars, _costs(calls, dollars_per_call, growth)) - 1


def more_than_the_training(training_dollars, calls, dollars_per_call, growth):
    """It is a day late where the sum is reached exactly: at least as much is enough."""
    spent, day = 0.0, 0
    while spent <= training_dollars:
        day += 1
        spent += calls * dollars_per_call
        calls *= 1 + growth
    return day


def growth_forgotten(training_dollars, calls, dollars_per_call, growth):
    """Calls stayed as they were on day 1: they grow from day to day."""
    return _day(training_dollars, _costs(calls, dollars_per_call, 0.0))


def grown_before_the_first_day(training_dollars, calls, dollars_per_call, growth):
    """Calls had grown on day 1 already: growth is from one day to the next, so day 1 has `calls`."""
    return _day(training_dollars, _costs(calls * (1 + growth), dollars_per_call, growth))


def same_number_more_each_day(training_dollars, calls, dollars_per_call, growth):
    """Each day the same number of calls was added: growth is a share of the day before, so it compounds."""
    return _day(training_dollars, (calls * (1 + growth * day) * dollars_per_call for day in range(_LONGEST)))


def one_days_cost(training_dollars, calls, dollars_per_call, growth):
    """One day's cost was compared with the training: what counts is the sum of all days so far."""
    for day in range(1, _LONGEST):
        if calls * dollars_per_call >= training_dollars:
            return day
        calls *= 1 + growth
    return _LONGEST


def calls_instead_of_dollars(training_dollars, calls, dollars_per_call, growth):
    """Calls were added up, and compared with dollars: each costs dollars_per_call."""
    return _day(training_dollars, _costs(calls, 1.0, growth))


def last_day_without_break_even(training_dollars, calls, dollars_per_call, growth):
    """That is the last day by whose end it is *not* enough yet, wherever the sum is not reached exactly."""
    spent, day = 0.0, 0
    while spent + calls * dollars_per_call <= training_dollars:
        day += 1
        spent += calls * dollars_per_call
        calls *= 1 + growth
    return day
