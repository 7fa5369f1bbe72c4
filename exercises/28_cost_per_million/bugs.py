"""Wrong answers to `cost_per_million`."""


def _dollars(dollars_per_hour, tokens_per_hour, tokens=1_000_000):
    return dollars_per_hour / tokens_per_hour * tokens


def price_of_a_thousand(dollars_per_hour, gpus, sequences, step_s, busy):
    """That is the price of a thousand tokens, as in the article. Return the price of a million."""
    return _dollars(dollars_per_hour * gpus, sequences / step_s * 3600 * busy, 1000)


def one_gpu_paid(dollars_per_hour, gpus, sequences, step_s, busy):
    """Only one GPU was paid, or the tokens were multiplied by the GPUs. All GPUs hold one model. All are paid."""
    return _dollars(dollars_per_hour, sequences / step_s * 3600 * busy)


def one_sequence(dollars_per_hour, gpus, sequences, step_s, busy):
    """A step was counted as one token. It gives one token to every sequence of the batch. This makes batches cheap."""
    return _dollars(dollars_per_hour * gpus, 3600 / step_s * busy)


def idle_time_free(dollars_per_hour, gpus, sequences, step_s, busy):
    """The idle time was not paid. It costs the same as the busy time."""
    return _dollars(dollars_per_hour * gpus, sequences / step_s * 3600)


def cheaper_when_idle(dollars_per_hour, gpus, sequences, step_s, busy):
    """Idle time made the tokens cheaper. There are fewer tokens for the same price, so each one is more expensive."""
    return _dollars(dollars_per_hour * gpus * busy, sequences / step_s * 3600)


def minutes_for_hours(dollars_per_hour, gpus, sequences, step_s, busy):
    """An hour has 3,600 seconds, not 60."""
    return _dollars(dollars_per_hour * gpus, sequences / step_s * 60 * busy)


def dollars_per_second(dollars_per_hour, gpus, sequences, step_s, busy):
    """The price per hour was used as a price per second. An hour has 3,600 seconds."""
    return _dollars(dollars_per_hour * gpus, sequences / step_s * busy)


def slower_is_cheaper(dollars_per_hour, gpus, sequences, step_s, busy):
    """A slower step made the tokens cheaper. step_s is the time of a step: divide by it to get the steps per second."""
    return _dollars(dollars_per_hour * gpus, sequences * step_s * 3600 * busy)


def tokens_for_a_dollar(dollars_per_hour, gpus, sequences, step_s, busy):
    """That is millions of tokens per dollar. Return the inverse."""
    return sequences / step_s * 3600 * busy / (dollars_per_hour * gpus) / 1_000_000
