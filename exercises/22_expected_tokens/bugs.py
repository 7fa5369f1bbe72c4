"""Wrong answers to `expected_tokens`."""


def _gain(tokens, guesses, draft_cost, verify_cost):
    return float(tokens), tokens / (guesses * draft_cost + verify_cost)


def free_token_forgotten(acceptance, guesses, draft_cost, verify_cost):
    """Only the accepted guesses were counted: the model's own token comes in every round, so begin with 1."""
    tokens = sum(acceptance**number for number in range(1, guesses + 1))
    return _gain(tokens, guesses, draft_cost, verify_cost)


def every_guess_by_itself(acceptance, guesses, draft_cost, verify_cost):
    """Each guess was counted with the same probability: the third counts only if the first two were right as well."""
    return _gain(1 + acceptance * guesses, guesses, draft_cost, verify_cost)


def best_case(acceptance, guesses, draft_cost, verify_cost):
    """That is the best case, 1 + K tokens, which the article takes for the usual one: not all guesses are right."""
    return _gain(1 + guesses, guesses, draft_cost, verify_cost)


def all_or_nothing(acceptance, guesses, draft_cost, verify_cost):
    """Guesses counted only if all of them were right: those before the first wrong one are kept."""
    return _gain(1 + guesses * acceptance**guesses, guesses, draft_cost, verify_cost)


def without_end(acceptance, guesses, draft_cost, verify_cost):
    """The sum went on without end, as if there were no limit to the guesses: it ends with acceptance**guesses."""
    return _gain(1 / (1 - acceptance), guesses, draft_cost, verify_cost)


def last_guess_forgotten(acceptance, guesses, draft_cost, verify_cost):
    """The last guess was left out: there are guesses + 1 terms, from the power 0 to the power `guesses`."""
    return _gain(sum(acceptance**number for number in range(guesses)), guesses, draft_cost, verify_cost)


def divides_by_zero(acceptance, guesses, draft_cost, verify_cost):
    """The closed form (1 - a**(k+1)) / (1 - a) divides by 0 where every guess is right: there the sum is k + 1."""
    tokens = (1 - acceptance ** (guesses + 1)) / (1 - acceptance)
    return _gain(tokens, guesses, draft_cost, verify_cost)


def one_draft_step(acceptance, guesses, draft_cost, verify_cost):
    """The draft was paid for one guess: it runs once for each of them."""
    tokens = sum(acceptance**number for number in range(guesses + 1))
    return float(tokens), tokens / (draft_cost + verify_cost)


def verification_is_a_step(acceptance, guesses, draft_cost, verify_cost):
    """Verifying was counted as one decode step: that holds on a GPU which waits for memory; here it has a price."""
    tokens = sum(acceptance**number for number in range(guesses + 1))
    return float(tokens), tokens / (guesses * draft_cost + 1)
