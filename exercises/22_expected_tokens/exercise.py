"""Expected tokens: how many tokens a round of speculative decoding gives, and how much faster it is.

Where the engine does it: `tokens_per_round` and `speedup` in minillm/estimate/speculation.py (Leviathan et al.,
2211.17192, equation 1 and theorem 3.8). `minillm bench --speculative` prints both next to measured numbers.
"""


# %% learner
def expected_tokens(acceptance: float, drafted: int, draft_cost: float, verify_cost: float) -> tuple[float, float]:
    """Return the mean number of tokens of a round, and the speed-up over plain decoding.

    A draft model proposes `drafted` tokens. The target model verifies all of them in one pass. A draft token is
    accepted only if all draft tokens before it are accepted, too. After the accepted tokens, every round adds one token
    of the target model.

    acceptance: the probability that a draft token is correct, the same for each; from 0 to 1, both included.
    drafted: the number of draft tokens in a round; may be 0.
    draft_cost: the time of one draft token, in decode steps of the target model.
    verify_cost: the time of the verifying pass, in decode steps of the target model.
    returns: (tokens, speed-up). The speed-up is the number of tokens in the time of one decode step. Plain decoding
        gives 1 token in this time.
    """
    # %% solution
    tokens = float(sum(acceptance**count for count in range(drafted + 1)))
    return tokens, tokens / (drafted * draft_cost + verify_cost)


# %% hints
HINTS = (
    "What is the probability that the third draft token is accepted? Three tokens must be correct. The mean number of "
    "tokens is the sum of the probabilities that a first, a second, a third ... token is added.",
    "Both results are single numbers. The first is a sum of drafted + 1 probabilities, the first of which is 1.",
    "1. sum acceptance to the power of 0, 1, ..., drafted; 2. a round costs all its draft tokens and one verifying "
    "pass; 3. divide.",
    "tokens = float(sum(acceptance**count for count in range(drafted + 1)))",
)


# %% check
from itertools import product  # noqa: E402
from math import prod  # noqa: E402

LESSON = 10
CONCEPTS = ("speculative", "estimate")


def cases(random):
    for acceptance, drafted, draft_cost, verify_cost in (
        (0.5, 1, 0.0, 1.0), (0.5, 2, 0.0, 1.0), (0.5, 2, 0.25, 1.0), (0.5, 2, 0.25, 1.5), (0.75, 0, 0.25, 1.0),
        (0.0, 3, 0.125, 1.25), (1.0, 4, 0.125, 1.25), (0.8, 4, 0.1, 1.0), (0.6, 4, 0.1, 2.38), (0.4, 8, 0.1, 1.0),
    ):  # fmt: skip
        yield _case(acceptance, drafted, draft_cost, verify_cost)
    for drafted in (3, 5, 7):
        acceptance, draft_cost, verify_cost = (round(float(number), 3) for number in random.random(3))
        yield _case(acceptance, drafted, draft_cost, 1 + verify_cost)


def _case(acceptance, drafted, draft_cost, verify_cost):
    names = ("acceptance", "drafted", "draft_cost", "verify_cost")
    return dict(zip(names, (acceptance, drafted, draft_cost, verify_cost), strict=True))


def the_mean_over_all_outcomes(inputs, result, run):
    """The number of tokens must be the mean over all outcomes: each draft token correct or wrong."""
    mean, chance = 0.0, {True: inputs["acceptance"], False: 1 - inputs["acceptance"]}
    for correct in product((True, False), repeat=inputs["drafted"]):
        accepted = (*correct, False).index(False)
        mean += prod(chance[one] for one in correct) * (accepted + 1)
    return abs(result[0] - mean) < 1e-9


def no_draft_is_plain_decoding(inputs, result, run):
    """Without draft tokens, and with a verifying pass as expensive as a decode step, the speed-up must be 1."""
    return run(drafted=0, verify_cost=1.0) == (1.0, 1.0)


PROPERTIES = (the_mean_over_all_outcomes, no_draft_is_plain_decoding)


def engine(acceptance, drafted, draft_cost, verify_cost):
    from minillm.estimate.speculation import speedup, tokens_per_round

    ratio = speedup(acceptance, drafted, draft_cost, lambda rows: verify_cost)
    return float(tokens_per_round(acceptance, drafted)), ratio
