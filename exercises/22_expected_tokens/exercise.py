"""Expected tokens: what a round of speculative decoding is worth.

Where the engine does it: `tokens_per_round` and `speedup` in minillm/estimate/speculation.py (Leviathan et al.,
2211.17192, equation 1 and theorem 3.8); `minillm bench --speculative` shows them beside what was measured.
"""


# %% learner
def expected_tokens(acceptance: float, guesses: int, draft_cost: float, verify_cost: float) -> tuple[float, float]:
    """Mean tokens of a round, and how many times as fast as plain decoding that is.

    A draft guesses some tokens, the model verifies all of them in one pass. A guess counts only if all before it were
    right as well. Behind the accepted ones comes one token of the model's own, in every round.

    acceptance: the probability that a guess is right, for each the same; from 0 to 1, both possible.
    guesses: of a round; perhaps 0.
    draft_cost: seconds of one guess, in decode steps of the model.
    verify_cost: seconds of the pass that verifies, in decode steps of the model.
    returns: (tokens, speed-up): tokens for the seconds of one decode step, which plain decoding gives 1.
    """
    # %% solution
    tokens = float(sum(acceptance**number for number in range(guesses + 1)))
    return tokens, tokens / (guesses * draft_cost + verify_cost)


# %% hints
HINTS = (
    "What is the probability that the third guess counts? It takes three right guesses. The mean of a number of tokens "
    "is the sum of the probabilities that there is a first, a second, a third ...",
    "Both results are single numbers: guesses + 1 probabilities are added, the first of which is 1.",
    "1. add up acceptance to the power of 0, 1, ..., guesses; 2. a round costs all its guesses and one verification; "
    "3. divide.",
    "tokens = float(sum(acceptance**number for number in range(guesses + 1)))",
)


# %% check
from itertools import product  # noqa: E402
from math import prod  # noqa: E402

LESSON = 9
CONCEPTS = ("speculative", "estimate")


def cases(random):
    for acceptance, guesses, draft_cost, verify_cost in (
        (0.5, 1, 0.0, 1.0), (0.5, 2, 0.0, 1.0), (0.5, 2, 0.25, 1.0), (0.5, 2, 0.25, 1.5), (0.75, 0, 0.25, 1.0),
        (0.0, 3, 0.125, 1.25), (1.0, 4, 0.125, 1.25), (0.8, 4, 0.1, 1.0), (0.6, 4, 0.1, 2.38), (0.4, 8, 0.1, 1.0),
    ):  # fmt: skip
        yield _case(acceptance, guesses, draft_cost, verify_cost)
    for guesses in (3, 5, 7):
        acceptance, draft_cost, verify_cost = (round(float(number), 3) for number in random.random(3))
        yield _case(acceptance, guesses, draft_cost, 1 + verify_cost)


def _case(acceptance, guesses, draft_cost, verify_cost):
    names = ("acceptance", "guesses", "draft_cost", "verify_cost")
    return dict(zip(names, (acceptance, guesses, draft_cost, verify_cost), strict=True))


def the_mean_over_all_outcomes(inputs, result, run):
    """The tokens are the mean over all ways in which the guesses can be right and wrong."""
    mean, chance = 0.0, {True: inputs["acceptance"], False: 1 - inputs["acceptance"]}
    for right in product((True, False), repeat=inputs["guesses"]):
        accepted = (*right, False).index(False)
        mean += prod(chance[one] for one in right) * (accepted + 1)
    return abs(result[0] - mean) < 1e-9


def guesses_for_nothing_are_plain_decoding(inputs, result, run):
    """Without guesses, and verification as dear as a step, the speed-up is 1."""
    return run(guesses=0, verify_cost=1.0) == (1.0, 1.0)


PROPERTIES = (the_mean_over_all_outcomes, guesses_for_nothing_are_plain_decoding)
