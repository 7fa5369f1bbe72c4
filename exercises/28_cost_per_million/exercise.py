"""What a million tokens cost, on a machine that is paid by the hour.

Where the engine does it: `dollars_per_million_tokens` in minillm/estimate/cost.py; `minillm estimate --batch 40 --price
1.19` puts in the speed that the roofline allows. A machine costs the same in an hour in which nobody asks it anything.
"""


# %% learner
def cost_per_million(dollars_per_hour: float, gpus: int, sequences: int, step_s: float, busy: float) -> float:
    """Dollars for a million output tokens.

    dollars_per_hour: of one GPU.
    gpus: that hold the model together.
    sequences: that are written at the same time; each decode step gives a token to every one of them.
    step_s: seconds of one decode step.
    busy: the share of the hours, above 0 and at most 1, in which there is something to write.
    returns: dollars.
    """
    # %% solution
    tokens_per_hour = sequences / step_s * 3600 * busy
    return dollars_per_hour * gpus / tokens_per_hour * 1_000_000


# %% hints
HINTS = (
    "Dollars of an hour over its tokens. All GPUs are paid in all hours, but tokens come in busy ones only.",
    "Everything is a single number: dollars per hour, tokens per hour, dollars per token.",
    "1. steps in a second; 2. tokens in a second; 3. tokens in an hour, of which only a share is busy; 4. dollars of "
    "an hour, divided by them; 5. times a million.",
    "tokens_per_hour = sequences / step_s * 3600 * busy",
)


# %% check
LESSON = 12
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


def the_hours_bill_is_all_its_tokens(inputs, result, run):
    """The tokens of a busy hour, at this price, pay for all GPUs for one hour."""
    tokens = inputs["sequences"] / inputs["step_s"] * 3600 * inputs["busy"]
    return abs(result * tokens / 1e6 - inputs["dollars_per_hour"] * inputs["gpus"]) < 1e-9


def half_idle_is_twice_as_dear(inputs, result, run):
    """Busy for half of the time, a token is twice as dear."""
    return abs(run(busy=inputs["busy"] / 2) - 2 * result) < 1e-9 * result


PROPERTIES = (the_hours_bill_is_all_its_tokens, half_idle_is_twice_as_dear)
