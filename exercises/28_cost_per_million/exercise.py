"""The cost of a million tokens, on a machine that is paid by the hour.

Where the engine does it: `dollars_per_million_tokens` in minillm/estimate/cost.py. `minillm estimate --batch 40 --price
1.19` uses the speed of the roofline. An idle hour costs the same as a busy one.
"""


# %% learner
def cost_per_million(dollars_per_hour: float, gpus: int, sequences: int, step_s: float, busy: float) -> float:
    """Return the dollars for a million output tokens.

    dollars_per_hour: the price of one GPU.
    gpus: the number of GPUs that hold the model together.
    sequences: the batch size. Each decode step gives one token to every sequence.
    step_s: seconds of one decode step.
    busy: the fraction of the time in which the GPUs work, above 0 and at most 1.
    returns: dollars.
    """
    # %% solution
    tokens_per_hour = sequences / step_s * 3600 * busy
    return dollars_per_hour * gpus / tokens_per_hour * 1_000_000


# %% hints
HINTS = (
    "Divide the dollars per hour by the tokens per hour. All GPUs are paid all the time, but they produce tokens only "
    "in the busy time.",
    "All are single numbers: dollars per hour, tokens per hour, dollars per token.",
    "1. steps per second; 2. tokens per second; 3. tokens per hour, times the busy fraction; 4. dollars per hour, "
    "divided by tokens per hour; 5. times a million.",
    "tokens_per_hour = sequences / step_s * 3600 * busy",
)


# %% check
LESSON = 13
CONCEPTS = ("cost",)


def cases(random):
    for numbers in (
        (3.6, 1, 1, 1.0, 1.0), (3.6, 1, 1, 0.5, 1.0), (3.6, 2, 1, 1.0, 1.0), (3.6, 1, 4, 1.0, 1.0),
        (3.6, 1, 1, 1.0, 0.25), (3.6, 2, 4, 0.5, 0.5), (1.19, 1, 40, 0.01, 1.0), (1.99, 1, 100, 0.01, 1.0),
    ):  # fmt: skip
        yield _case(*numbers)
    for _ in range(4):
        dollars, step_s, busy = (round(float(number), 3) for number in random.uniform(0.1, 1.0, 3))
        yield _case(dollars, int(random.integers(2, 9)), int(random.integers(2, 50)), step_s, busy)


def _case(dollars_per_hour, gpus, sequences, step_s, busy):
    names = ("dollars_per_hour", "gpus", "sequences", "step_s", "busy")
    return dict(zip(names, (dollars_per_hour, gpus, sequences, step_s, busy), strict=True))


def the_tokens_pay_for_the_hour(inputs, result, run):
    """The tokens of an hour times this price must equal the price of all GPUs for one hour."""
    tokens = inputs["sequences"] / inputs["step_s"] * 3600 * inputs["busy"]
    return abs(result * tokens / 1e6 - inputs["dollars_per_hour"] * inputs["gpus"]) < 1e-9


def half_as_busy_costs_twice(inputs, result, run):
    """If the GPUs are busy half as long, a token must cost twice as much."""
    return abs(run(busy=inputs["busy"] / 2) - 2 * result) < 1e-9 * result


PROPERTIES = (the_tokens_pay_for_the_hour, half_as_busy_costs_twice)


def engine(dollars_per_hour, gpus, sequences, step_s, busy):
    from minillm.estimate.cost import dollars_per_million_tokens

    return float(dollars_per_million_tokens(dollars_per_hour * gpus, sequences / step_s * busy))
