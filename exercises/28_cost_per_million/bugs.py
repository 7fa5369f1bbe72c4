"""Wrong answers to `cost_per_million`."""


def _dollars(dollars_per_hour, tokens_per_hour, tokens=1_000_000):
    return dollars_per_hour / tokens_per_hour * tokens


def price_of_a_thousand(dollars_per_hour, gpus, sequences, step_s, busy):
    """That is the price of a thousand tokens, as in the article; prices today are for a million."""
    return _dollars(dollars_per_hour * gpus, sequences / step_s * 3600 * busy, 1000)


def one_gpu_paid(dollars_per_hour, gpus, sequences, step_s, busy):
    """One GPU was paid, or the GPUs multiplied the tokens: they hold one model together, and all of them are paid."""
    return _dollars(dollars_per_hour, sequences / step_s * 3600 * busy)


def one_sequence(dollars_per_hour, gpus, sequences, step_s, busy):
    """A step was counted as one token: it gives one to every sequence of the batch. That is why batches are cheap."""
    return _dollars(dollars_per_hour * gpus, 3600 / step_s * busy)


def idle_hours_for_nothing(dollars_per_hour, gpus, sequences, step_s, busy):
    """Idle hours are free here: they are paid like all others."""
    return _dollars(dollars_per_hour * gpus, sequences / step_s * 3600)


def cheaper_when_idle(dollars_per_hour, gpus, sequences, step_s, busy):
    """A machine that idles made its tokens cheaper: fewer tokens share the same bill, so each is dearer."""
    return _dollars(dollars_per_hour * gpus * busy, sequences / step_s * 3600)


def minutes_for_hours(dollars_per_hour, gpus, sequences, step_s, busy):
    """An hour has 3600 seconds, not 60."""
    return _dollars(dollars_per_hour * gpus, sequences / step_s * 60 * busy)


def dollars_per_second(dollars_per_hour, gpus, sequences, step_s, busy):
    """The price of an hour was taken for that of a second."""
    return _dollars(dollars_per_hour * gpus, sequences / step_s * busy)


def slower_is_cheaper(dollars_per_hour, gpus, sequences, step_s, busy):
    """A slower step made tokens cheaper: step_s is the time of a step, so divide by it to get steps in a second."""
    return _dollars(dollars_per_hour * gpus, sequences * step_s * 3600 * busy)


def tokens_for_a_dollar(dollars_per_hour, gpus, sequences, step_s, busy):
    """Those are millions of tokens for a dollar: turn the fraction over."""
    return sequences / step_s * 3600 * busy / (dollars_per_hour * gpus) / 1_000_000
