"""How many tokens to draft in the next round: the same number k each time, or a k that follows what is accepted.

The simple idea. If each draft token is accepted with probability a, a round with k of them gives on average

    1 + a + a^2 + ... + a^k  =  (1 - a^(k+1)) / (1 - a)    tokens        (Leviathan et al., 2211.17192, equation 1)

because draft token i counts only if all before it were accepted, and the target adds one token. A round costs k steps
of the draft model and one pass of the target over k + 1 rows. So estimate a by counting, and take the best k:

    accepted, judged = 3, 4                                    # begin optimistic, so that drafting is tried
    while not finished:
        a = accepted / judged
        gain = lambda k: sum(a**i for i in range(k + 1)) / (k * draft_cost + cost_of_rows(k + 1))
        k = max(range(16), key=gain)                           # 0 is plain decoding
        ...                                                    # draft k tokens and verify them
        accepted += draft tokens that were accepted
        judged += those, and the first rejected one            # the tokens after it were not judged

For example, with a = 0.8, free draft tokens, and the costs of a pass on the plain backend (`cost_of_rows`):

    k                 0      1      2      3      7      10     15
    tokens            1      1.80   2.44   2.95   4.16   4.57   4.86
    cost              1      1.53   1.83   2.13   2.52   2.69   2.97     decode steps of the target
    tokens / cost     1      1.18   1.33   1.39   1.65   1.70   1.64     so k = 10

What is added. Texts change between easy and hard, so recent draft tokens count more (`CountedLength`). A round whose
draft is rejected costs more than plain decoding. A `Budget` limits what is lost that way, for every draft: a
round drafts only as many tokens as the budget could pay if all were rejected. If a draft model does not pay, counting
begins again, and the budget says when it is next tried (`AdaptiveLength`). A free drafter always proposes, and the
draft is cut afterwards. Prompt lookup is right more often after a long match than after a short one, so matches are
counted by their length (`LookupLength`).

The costs come from a table and not from the clock, so that the same seed gives the same text on the same
backend and kind of processor.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from minillm.prefill import PREFILL_CHUNK
from minillm.speculative.drafters import Draft
from minillm.support.checks import check_integer, shown

LONGEST_DRAFT = 15  # for "auto": 16 rows; the cost of a longer pass grows in proportion to its rows
MAX_DRAFT_TOKENS = PREFILL_CHUNK - 1  # a round is not longer than a chunk of a prompt, which bounds its memory
MEMORY = 0.95  # each new observation multiplies the weight of all older ones by this: about the last 20 decide
PRIOR = 6.0, 8.0  # accepted and judged draft tokens of a draft model, before there are any
BUDGET = 3.0  # decode steps that a request may lose at first; so an answer of 200 tokens takes at most 3% longer
INCOME = 0.012  # further steps for each round: less than 1.5% in the long run
SAVED = 10.0  # steps: the most that stays of what drafts gained, to try more when the text changes
READING = 0.04  # decode steps of a model for each token of a long pass; a prefill takes 0.03 to 0.06 on a CPU


class DraftLength:
    """Decides how many tokens each round of one request drafts. This one: always `k`."""

    def __init__(self, k: int) -> None:
        self.k = min(k, MAX_DRAFT_TOKENS)

    def choose(self) -> int:
        """Return how many tokens to draft. Asking twice gives the same answer: an interrupted round asks again."""
        return self.k

    def keep(self, draft: Draft) -> int:
        """Return how many of the proposed tokens to verify."""
        return len(draft.tokens)

    def observe(self, draft: Draft, tokens: Sequence[int]) -> None:
        """Compare the proposed draft with the tokens that the round gave. Called once a round, also without a draft."""


class Budget:
    """The decode steps of the target that the drafts of one request may still lose."""

    def __init__(self) -> None:
        self.left = BUDGET

    def record(self, cost: float, tokens: int) -> None:
        """Record a round. Plain decoding would have taken one step for each token.

        Args:
            cost: of the round, in decode steps of the target.
            tokens: that the round gave.
        """
        self.left = min(SAVED, self.left + INCOME + tokens - cost)

    def longest(self, costs: Sequence[float]) -> int:
        """Return the largest k that it could pay if all k draft tokens were rejected; `costs` as in CountedLength."""
        return max((k for k, cost in enumerate(costs) if cost - 1 <= self.left), default=0)


class CountedLength(DraftLength):
    """The k with the most tokens for its cost, by the acceptance rate of recent draft tokens."""

    def __init__(self, costs: Sequence[float], accepted: float, judged: float) -> None:
        """Begin as if `accepted` of `judged` draft tokens had been accepted.

        Args:
            costs: the cost of a round with k draft tokens, for k = 0, 1, ..., in decode steps of the target.
            accepted, judged: numbers of draft tokens.
        """
        self.costs = costs
        self.accepted = accepted
        self.judged = judged

    def choose(self) -> int:
        """Return the k that is best for the acceptance so far; 0 is plain decoding."""
        return self.choose_up_to(len(self.costs) - 1)

    def choose_up_to(self, most: int) -> int:
        """Return the best k of at most `most`."""
        acceptance = self.accepted / self.judged
        tokens = accumulate(acceptance**k for k in range(most + 1))  # of rounds with 0, 1, ... draft tokens
        gains = [each / cost for each, cost in zip(tokens, self.costs, strict=False)]
        return gains.index(max(gains))

    def observe(self, draft: Draft, tokens: Sequence[int]) -> None:
        """Count draft tokens up to the first that is wrong: in its place came the last token of the round."""
        for draft_token, token in zip(draft.tokens, tokens, strict=False):
            self.accepted = MEMORY * self.accepted + (draft_token == token)
            self.judged = MEMORY * self.judged + 1


class AdaptiveLength(CountedLength):
    """For drafters that cost time. When no k pays, it begins again with fresh counts as soon as the budget allows.

    A draft model that was left out for some rounds has to read their tokens first. That is a part of the price.
    """

    def __init__(self, costs: Sequence[float], draft_cost: float) -> None:
        """Begin optimistic.

        Args:
            costs: as in CountedLength.
            draft_cost: of a decode step of the draft model, in those of the target.
        """
        super().__init__(costs, *PRIOR)
        self.budget, self.draft_cost = Budget(), draft_cost
        self.unread = 0  # tokens since the drafter was last asked

    def choose(self) -> int:
        """Return the best k that the budget can pay."""
        return self.choose_up_to(self.budget.longest(self._prices()))

    def observe(self, draft: Draft, tokens: Sequence[int]) -> None:
        """Count, and record what the round cost. Begin again when no k pays."""
        drafted = len(draft.tokens)
        self.budget.record(self._prices()[drafted], len(tokens))
        self.unread = 0 if drafted else self.unread + len(tokens)
        super().observe(draft, tokens)
        if super().choose() == 0:
            self.accepted, self.judged = PRIOR

    def _prices(self) -> list[float]:
        """Return the costs of the next round with k = 0, 1, ... draft tokens: with any, the draft model reads first."""
        plain, *others = self.costs
        reading = self.draft_cost * READING * self.unread
        return [plain, *(cost + reading for cost in others)]


class LookupLength(DraftLength):
    """For free drafters: cuts the draft after it is proposed, by what drafts after such a match were worth.

    Each draft is compared with the text, also where none of it is verified. So it is noticed when drafts become right.
    """

    def __init__(self, costs: Sequence[float]) -> None:
        self.by_match = [CountedLength(costs, accepted=1.0, judged=2.0) for _ in range(4)]  # 0, 1, 2 to 3, 4 or more
        self.costs, self.budget = costs, Budget()

    def choose(self) -> int:
        """Return the most: draft tokens cost nothing until they are verified."""
        return LONGEST_DRAFT

    def keep(self, draft: Draft) -> int:
        """Return the k that is best after a match like that of this draft, and that the budget can pay."""
        return min(len(draft.tokens), self._counts(draft).choose_up_to(self.budget.longest(self.costs)))

    def observe(self, draft: Draft, tokens: Sequence[int]) -> None:
        """Count for matches like that of this draft, and record what the round cost."""
        self.budget.record(self.costs[self.keep(draft)], len(tokens))
        self._counts(draft).observe(draft, tokens)

    def _counts(self, draft: Draft) -> CountedLength:
        return self.by_match[min(draft.matched.bit_length(), 3)]


def check_k(k: Any) -> int | str:
    """Return the user's k.

    Raises:
        ValueError: neither an integer of at least 1 nor "auto".
    """
    if isinstance(k, str):
        if k != "auto":
            raise ValueError(f"k is {shown(k)}; expected an integer of at least 1, or 'auto'")
        return k
    return check_integer("k", k, 1)
