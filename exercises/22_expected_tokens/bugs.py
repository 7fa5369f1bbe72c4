"""Wrong answers to `expected_tokens`."""


def _result(tokens, drafted, draft_cost, verify_cost):
    return float(tokens), tokens / (drafted * draft_cost + verify_cost)


def own_token_missing(acceptance, drafted, draft_cost, verify_cost):
    """Only the accepted draft tokens were counted. Every round also adds the target model's own token: begin with 1."""
    tokens = sum(acceptance**count for count in range(1, drafted + 1))
    return _result(tokens, drafted, draft_cost, verify_cost)


def every_token_by_itself(acceptance, drafted, draft_cost, verify_cost):
    """Each draft token was counted with the same probability. The third one needs the first two to be correct, too."""
    return _result(1 + acceptance * drafted, drafted, draft_cost, verify_cost)


def best_case(acceptance, drafted, draft_cost, verify_cost):
    """That is the best case, 1 + K tokens, which the article takes for the mean. Not all draft tokens are correct."""
    return _result(1 + drafted, drafted, draft_cost, verify_cost)


def all_or_none(acceptance, drafted, draft_cost, verify_cost):
    """Draft tokens were counted only if all are correct. The ones before the first wrong one are kept, too."""
    return _result(1 + drafted * acceptance**drafted, drafted, draft_cost, verify_cost)


def infinite_sum(acceptance, drafted, draft_cost, verify_cost):
    """The sum is infinite, as if there were no limit to the draft. It must end with acceptance**drafted."""
    return _result(1 / (1 - acceptance), drafted, draft_cost, verify_cost)


def last_token_missing(acceptance, drafted, draft_cost, verify_cost):
    """The last draft token is missing. There are drafted + 1 terms: the powers from 0 to `drafted`."""
    return _result(sum(acceptance**count for count in range(drafted)), drafted, draft_cost, verify_cost)


def divides_by_zero(acceptance, drafted, draft_cost, verify_cost):
    """The closed form (1 - a**(k+1)) / (1 - a) divides by 0 if a is 1. In this case the sum is k + 1."""
    tokens = (1 - acceptance ** (drafted + 1)) / (1 - acceptance)
    return _result(tokens, drafted, draft_cost, verify_cost)


def one_draft_step(acceptance, drafted, draft_cost, verify_cost):
    """The cost of only one draft token was added. The draft model runs once for each of them."""
    tokens = sum(acceptance**count for count in range(drafted + 1))
    return float(tokens), tokens / (draft_cost + verify_cost)


def verification_is_a_step(acceptance, drafted, draft_cost, verify_cost):
    """Verifying was counted as one decode step. That is true on a memory-bound GPU. Here its cost is verify_cost."""
    tokens = sum(acceptance**count for count in range(drafted + 1))
    return float(tokens), tokens / (drafted * draft_cost + 1)
