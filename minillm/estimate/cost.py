"""Dollars: of tokens, of a training, and the day on which inference has cost as much as the training."""

from minillm.estimate.units import MILLION, SECONDS_PER_HOUR, Number


def dollars_per_million_tokens(dollars_per_hour: Number, tokens_per_s: Number) -> Number:
    """Return the cost of a million tokens on a machine that is always busy."""
    return dollars_per_hour / SECONDS_PER_HOUR / tokens_per_s * MILLION


def training_flops(parameters: Number, tokens: Number) -> Number:
    """Return 6 operations per parameter and token: 2 forward, 4 backward (Kaplan et al., 2001.08361, section 2.1)."""
    return 6 * parameters * tokens


def inference_flops(parameters: Number, tokens: Number) -> Number:
    """Return 2 operations per parameter and token, a multiplication and an addition; attention is left out."""
    return 2 * parameters * tokens


def gpu_hours(flops: Number, flops_per_s: Number, mfu: Number) -> Number:
    """Return the hours that one GPU needs for `flops` operations at the fraction `mfu` of its peak."""
    return flops / (flops_per_s * mfu) / SECONDS_PER_HOUR


def break_even_days(training_dollars: Number, inference_dollars_per_day: Number) -> Number:
    """Return the number of days after which all inference has cost as much as the training."""
    return training_dollars / inference_dollars_per_day


def api_dollars(prompt_tokens: int, new_tokens: int, per_million_in: Number, per_million_out: Number) -> Number:
    """Return the price of one API call, from prices per million tokens."""
    return (prompt_tokens * per_million_in + new_tokens * per_million_out) / MILLION
