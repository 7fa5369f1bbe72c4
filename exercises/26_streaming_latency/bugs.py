"""Wrong answers to `streaming_latency`."""


def _gaps(came):
    return [came[number + 1] - came[number] for number in range(len(came) - 1)]


def first_token_in_the_mean(sent, came):
    """The wait for the first token is in the time per token, too: it has other causes, and a number of its own."""
    return came[0] - sent, (came[-1] - sent) / len(came), max(_gaps(came), default=0.0)


def as_many_gaps_as_tokens(sent, came):
    """The gaps were divided by the number of tokens: n tokens have n - 1 gaps between them."""
    return came[0] - sent, (came[-1] - came[0]) / len(came), max(_gaps(came), default=0.0)


def time_of_day(sent, came):
    """The first number is the time on the clock: subtract the time at which the request was sent."""
    return came[0], sum(_gaps(came)) / max(1, len(came) - 1), max(_gaps(came), default=0.0)


def time_to_last_token(sent, came):
    """The first number is the time until the *last* token: who reads along begins with the first."""
    return came[-1] - sent, sum(_gaps(came)) / max(1, len(came) - 1), max(_gaps(came), default=0.0)


def pause_before_the_first(sent, came):
    """The wait for the first token was taken for a pause: a pause is between two tokens."""
    return came[0] - sent, sum(_gaps(came)) / max(1, len(came) - 1), max([came[0] - sent, *_gaps(came)])


def median_gap(sent, came):
    """That is the gap in the middle, not the mean: a long pause must show."""
    gaps = sorted(_gaps(came)) or [0.0]
    return came[0] - sent, gaps[len(gaps) // 2], gaps[-1]


def no_gap_no_number(sent, came):
    """It fails after a single token: there is no gap, so both numbers are 0.0."""
    gaps = _gaps(came)
    return came[0] - sent, sum(gaps) / len(gaps), max(gaps)


def rate_instead_of_time(sent, came):
    """That is tokens per second; the time per token is its inverse."""
    span = came[-1] - came[0]
    return came[0] - sent, (len(came) - 1) / span if span else 0.0, max(_gaps(came), default=0.0)


def tokens_together_left_out(sent, came):
    """Gaps of 0 were left out: tokens that come together have no wait between them, and count all the same."""
    gaps = [gap for gap in _gaps(came) if gap] or [0.0]
    return came[0] - sent, sum(gaps) / len(gaps), max(gaps)
