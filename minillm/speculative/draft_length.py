"""How many tokens to draft: k as given, or an adaptive k that follows what is accepted and what that costs.

An adaptive one knows how often guesses are accepted (a), what a guess costs (c) and what verifying k + 1 rows costs
(v), the costs in decode steps of the target; and takes the k with the greatest speed-up by the formula in
`estimate/speculation.py`, 0 included, which is plain decoding. Costs come from a table that is fixed when a request
begins, or from the clock. With temperature above 0 the text depends on k, so there only counts and the table decide,
and the same seed gives the same text.

A model's guesses cost time, so k is chosen before they are made (`AdaptiveLength`). Guesses that are looked up cost
none, but are right quite differently often: k is chosen when it is known where they come from (`LookupLength`).
"""

from typing import Any, Protocol, runtime_checkable

from minillm.estimate.speculation import best_k
from minillm.speculative.costs import Costs
from minillm.speculative.drafters import LONGEST_MATCH, PREFILL_CHUNK, Draft, Drafter
from minillm.support.checks import check_integer, shown

LONGEST_DRAFT = 15  # 16 rows; beyond that verifying costs in proportion to the rows
MAX_DRAFT_TOKENS = PREFILL_CHUNK - 1  # a round is a pass no longer than one of the prompt, whose memory is bounded
FREE_MEMORY, MEMORY = 0.9, 0.95  # what an observation still counts after the next: the last 10 or 20 guesses decide
MATCH_KINDS = LONGEST_MATCH.bit_length() + 1
FRESH_START = (3.0, 4.0)  # accepted, observed: as if so many guesses had been accepted of so many
TRY = 2  # rounds of one guess, also to see what a guess costs: in the first the draft has to catch up
FIRST_PAUSE, LONGEST_PAUSE = 16, 256  # rounds without a draft, after one that did not pay


@runtime_checkable
class DraftLength(Protocol):
    """Decides the next k of one request."""

    def choose(self) -> int:
        """How many guesses to make in the next round."""

    def keep(self, draft: Draft) -> int:
        """How many of them to verify."""

    def observe(self, draft: Draft, accepted: int) -> None:
        """So many of the guesses turned out to be right, up to the first that did not."""


class FixedLength:
    """Always the same k."""

    def __init__(self, k: int) -> None:
        """At least 1; never more than MAX_DRAFT_TOKENS are made."""
        self.k = min(k, MAX_DRAFT_TOKENS)

    def choose(self) -> int:
        """See DraftLength."""
        return self.k

    def keep(self, draft: Draft) -> int:
        """All."""
        return len(draft.tokens)

    def observe(self, draft: Draft, accepted: int) -> None:
        """Changes nothing."""


class AdaptiveLength:
    """The k that promises most, and 0 when every other would lose.

    When it drafts nothing, it has to find out when to begin again: it makes a fresh start after a pause, which doubles
    each time.
    """

    def __init__(self, costs: Costs) -> None:
        """It begins as if most guesses were accepted, so that they are tried."""
        self.costs = costs
        self.accepted, self.observed = FRESH_START  # guesses, the older the less
        self.pause, self.next_pause, self.tried = 0, FIRST_PAUSE, 0

    def choose(self) -> int:
        """See DraftLength."""
        if self.pause:
            self.pause -= 1
            return 0
        k = best_k(self.accepted / self.observed, self.costs.draft(), LONGEST_DRAFT, self.costs.verify)
        if k:
            self.tried = 0
            return k
        worked_for_long = self.observed > 1.5 * FRESH_START[1]
        if self.tried < TRY and not worked_for_long:
            self.tried += 1
            return 1
        self.pause = FIRST_PAUSE if worked_for_long else self.next_pause
        self.next_pause = min(2 * self.pause, LONGEST_PAUSE)
        (self.accepted, self.observed), self.tried = FRESH_START, 0
        return 0

    def keep(self, draft: Draft) -> int:
        """All: they have cost their time."""
        return len(draft.tokens)

    def observe(self, draft: Draft, accepted: int) -> None:
        """Guesses behind the first that was rejected say nothing."""
        for index in range(min(accepted + 1, len(draft.tokens))):
            self.accepted = MEMORY * self.accepted + (index < accepted)
            self.observed = MEMORY * self.observed + 1


class LookupLength:
    """Of guesses that cost nothing, as many as promise most by the length of the match that they come from.

    What followed one matching word is a poor guess, what followed eight is a quotation. So acceptance is counted for
    matches of 1, 2 to 3, 4 to 7, 8 to 15 and 16 tokens apart; behind an accepted guess the match is longer by one. The
    first guess is watched also where none is verified, so that it is noticed when guesses begin to come true.
    """

    def __init__(self, costs: Costs) -> None:
        """As if half were accepted, whatever the match."""
        self.costs = costs
        self.accepted, self.observed = [1.0] * MATCH_KINDS, [2.0] * MATCH_KINDS  # guesses, the older the less

    def choose(self) -> int:
        """See DraftLength."""
        return LONGEST_DRAFT

    def keep(self, draft: Draft) -> int:
        """See DraftLength."""
        kind = match_kind(draft.matched)
        acceptance = self.accepted[kind] / self.observed[kind]
        return best_k(acceptance, self.costs.draft(), len(draft.tokens), self.costs.verify)

    def observe(self, draft: Draft, accepted: int) -> None:
        """Guesses behind the first that was rejected say nothing."""
        for index in range(min(accepted + 1, len(draft.tokens))):
            kind = match_kind(draft.matched + index)
            self.accepted[kind] = FREE_MEMORY * self.accepted[kind] + (index < accepted)
            self.observed[kind] = FREE_MEMORY * self.observed[kind] + 1


def match_kind(matched: int) -> int:
    """Matches whose lengths have the same number of binary digits count together."""
    return min(matched, LONGEST_MATCH).bit_length()


def check_k(k: Any) -> int | str:
    """k as the user gives it.

    Raises:
        ValueError: neither a whole number of at least 1 nor "auto".
    """
    if isinstance(k, str):
        if k != "auto":
            raise ValueError(f"k is {shown(k)}; expected an integer of at least 1, or 'auto'")
        return k
    return check_integer("k", k, 1)


def draft_length(k: int | str, drafter: Drafter, costs: Costs) -> DraftLength:
    """The k that the user wants: a number, or "auto"."""
    k = check_k(k)
    if k != "auto":
        return FixedLength(int(k))
    return LookupLength(costs) if drafter.free else AdaptiveLength(costs)
