"""Wrong answers to `streaming_latency`."""


def _gaps(received):
    return [received[number + 1] - received[number] for number in range(len(received) - 1)]


def first_token_in_the_mean(sent, received):
    """The time per token includes the wait for the first token. That wait counts only in the first number."""
    return received[0] - sent, (received[-1] - sent) / len(received), max(_gaps(received), default=0.0)


def as_many_gaps_as_tokens(sent, received):
    """The sum of the gaps was divided by the number of tokens. n tokens have n - 1 gaps."""
    return received[0] - sent, (received[-1] - received[0]) / len(received), max(_gaps(received), default=0.0)


def time_of_day(sent, received):
    """The first number is the clock time of the first token. Subtract the time at which the request was sent."""
    return received[0], sum(_gaps(received)) / max(1, len(received) - 1), max(_gaps(received), default=0.0)


def time_to_last_token(sent, received):
    """The first number is the time until the *last* token. It must be the time until the first one."""
    return received[-1] - sent, sum(_gaps(received)) / max(1, len(received) - 1), max(_gaps(received), default=0.0)


def pause_before_the_first(sent, received):
    """The wait for the first token was counted as a pause. A pause is between two tokens."""
    return (
        received[0] - sent,
        sum(_gaps(received)) / max(1, len(received) - 1),
        max([received[0] - sent, *_gaps(received)]),
    )


def median_gap(sent, received):
    """That is the median of the gaps. Return the mean."""
    gaps = sorted(_gaps(received)) or [0.0]
    return received[0] - sent, gaps[len(gaps) // 2], gaps[-1]


def fails_without_a_gap(sent, received):
    """The function fails if there is only one token. Then there is no gap, and both numbers are 0.0."""
    gaps = _gaps(received)
    return received[0] - sent, sum(gaps) / len(gaps), max(gaps)


def rate_instead_of_time(sent, received):
    """That is tokens per second. The time per token is its inverse."""
    span = received[-1] - received[0]
    return received[0] - sent, (len(received) - 1) / span if span else 0.0, max(_gaps(received), default=0.0)


def gaps_of_0_left_out(sent, received):
    """Gaps of 0 were left out. They are gaps, too, and count in the mean."""
    gaps = [gap for gap in _gaps(received) if gap] or [0.0]
    return received[0] - sent, sum(gaps) / len(gaps), max(gaps)
