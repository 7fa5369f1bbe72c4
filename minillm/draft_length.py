"""How many tokens to draft: k as given, or an adaptive k that follows what is accepted and what that costs.

An adaptive one knows how often guesses are accepted (a), what a guess costs (c) and what verifying k + 1 rows costs
(v), the costs in decode steps of the target; and takes the k with the greatest speed-up by the formula in
`estimate/speculation.py`, 0 included, which is plain decoding. Costs come from a table that is fixed when a request
begins, or from the clock. With temperature above 0 the text depends on k, so there only counts and the table decide,
and the same seed gives the same text.

A model's guesses cost time, so k is chosen before they are made (`AdaptiveLength`). Guesses that are looked up cost
none, but are right quite differently often: k is chosen when it is known where they come from (`LookupLength`).
"""

from collections import defaultdict
from typing import Any, Protocol, runtime_checkable

from minillm.backends.tiles import Tiles
from minillm.checks import check_whole, shown
from minillm.drafters import LONGEST_MATCH, PREFILL_CHUNK, Draft, Drafter, ModelDrafter
from minillm.estimate.speculation import best_k, cpu_draft_cost, cpu_verify_cost
from minillm.model import Model

LONGEST_DRAFT = 15  # 16 rows; beyond that verifying costs in proportion to the rows
MOST_GUESSES = PREFILL_CHUNK - 1  # a round is a pass no longer than one of the prompt, whose memory is bounded
FREE_MEMORY, MEMORY = 0.9, 0.95  # what an observation still counts after the next: the last 10 or 20 guesses decide
ENOUGH = 3  # measurements of a cost
MATCH_KINDS = LONGEST_MATCH.bit_length() + 1
FRESH_START = (3.0, 4.0)  # accepted, observed: as if so many guesses had been accepted of so many
TRY = 2  # rounds of one guess, also to see what a guess costs: in the first the draft has to catch up
FIRST_PAUSE, LONGEST_PAUSE = 16, 256  # rounds without a draft, after one that did not pay


@runtime_checkable
class Costs(Protocol):
    """Costs in decode steps of the target.

    Attributes:
        steps_first: how many plain decode steps should be made before any other, since they are what is counted in.
    """

    steps_first: int

    def draft(self) -> float:
        """Of one guess."""

    def verify(self, rows: int) -> float:
        """Of one forward pass with so many rows."""


class TableCosts:
    """Costs that are fixed when the model is loaded, whatever runs beside."""

    steps_first = 0

    def __init__(self, model: Model, drafter: Drafter) -> None:
        """From the two models' configs, and from how the target's weights lie."""
        self.tiled = isinstance(model.head, Tiles)
        self.draft_cost = 0.0
        if isinstance(drafter, ModelDrafter):
            self.draft_cost = cpu_draft_cost(drafter.model.config, model.config)

    def draft(self) -> float:
        """See Costs."""
        return self.draft_cost

    def verify(self, rows: int) -> float:
        """See Costs."""
        return cpu_verify_cost(rows, self.tiled)


class Shortest:
    """The shortest of some times, once there are enough of them: what else the machine does only makes them longer."""

    def __init__(self) -> None:
        """Of none yet."""
        self.count, self.seconds = 0, float("inf")

    def note(self, seconds: float) -> None:
        """One more."""
        self.count, self.seconds = self.count + 1, min(seconds, self.seconds)

    @property
    def known(self) -> bool:
        """One alone may have met anything."""
        return self.count >= ENOUGH


class MeasuredCosts:
    """Costs by the clock, where there are measurements enough; the table's until then."""

    steps_first = ENOUGH

    def __init__(self, table: TableCosts) -> None:
        """Nothing is measured yet."""
        self.table, self.guess = table, Shortest()
        self.passes: defaultdict[int, Shortest] = defaultdict(Shortest)  # by rows

    def note(self, draft: Draft, draft_s: float, verify_s: float) -> None:
        """A round took so many seconds. Those of a draft model that had to catch up are not those of a guess."""
        self.passes[len(draft.tokens) + 1].note(verify_s)
        if draft.tokens and draft.read <= 2:
            self.guess.note(draft_s / len(draft.tokens))

    def draft(self) -> float:
        """See Costs. Too few measurements can only make it less than in the table."""
        passes = self._known_passes()
        if not passes:
            return self.table.draft()
        measured = self.guess.seconds / self._step_s(passes)
        return measured if self.guess.known else min(measured, self.table.draft())

    def verify(self, rows: int) -> float:
        """See Costs. A width that is not known takes of the table what the nearest known one did, one step at least."""
        passes = self._known_passes()
        if not passes:
            return self.table.verify(rows)
        if rows in passes:
            return passes[rows] / self._step_s(passes)
        near = min(passes, key=lambda known: abs(known - rows))
        beyond_one = 1.0 if near == 1 else (self.verify(near) - 1) / (self.table.verify(near) - 1)
        return max(1.0, 1 + beyond_one * (self.table.verify(rows) - 1))

    def _known_passes(self) -> dict[int, float]:
        return {rows: time.seconds for rows, time in self.passes.items() if time.known}

    def _step_s(self, passes: dict[int, float]) -> float:
        """Seconds of one decode step; by the table, if only wider passes are known."""
        return passes.get(1) or min(s / self.table.verify(rows) for rows, s in passes.items())


@runtime_checkable
class DraftLength(Protocol):
    """Decides the next k of one request."""

    def choose(self) -> int:
        """How many guesses to make in the next round."""

    def keep(self, draft: Draft) -> int:
        """How many of them to verify."""

    def note(self, draft: Draft, accepted: int) -> None:
        """So many of the guesses turned out to be right, up to the first that did not."""


class FixedLength:
    """Always the same k."""

    def __init__(self, k: int) -> None:
        """At least 1; never more than MOST_GUESSES are made."""
        self.k = min(k, MOST_GUESSES)

    def choose(self) -> int:
        """See DraftLength."""
        return self.k

    def keep(self, draft: Draft) -> int:
        """All."""
        return len(draft.tokens)

    def note(self, draft: Draft, accepted: int) -> None:
        """Changes nothing."""


class AdaptiveLength:
    """The k that promises most, and 0 when every other would lose.

    When it drafts nothing, it has to find out when to begin again: it makes a fresh start after a pause, which doubles
    each time.
    """

    def __init__(self, costs: Costs) -> None:
        """It begins as if most guesses were accepted, so that they are tried; by the clock, after a few plain steps."""
        self.costs = costs
        self.accepted, self.observed = FRESH_START  # guesses, the older the less
        self.pause, self.next_pause, self.tried = costs.steps_first, FIRST_PAUSE, 0

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

    def note(self, draft: Draft, accepted: int) -> None:
        """Guesses behind the first that was rejected say nothing."""
        for guess in range(min(accepted + 1, len(draft.tokens))):
            self.accepted = MEMORY * self.accepted + (guess < accepted)
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

    def note(self, draft: Draft, accepted: int) -> None:
        """Guesses behind the first that was rejected say nothing."""
        for guess in range(min(accepted + 1, len(draft.tokens))):
            kind = match_kind(draft.matched + guess)
            self.accepted[kind] = FREE_MEMORY * self.accepted[kind] + (guess < accepted)
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
            raise ValueError(f"k is {shown(k)}; expected a whole number of at least 1, or 'auto'")
        return k
    return check_whole("k", k, 1)


def draft_length(k: int | str, drafter: Drafter, costs: Costs) -> DraftLength:
    """The k that the user wants: a number, or "auto"."""
    k = check_k(k)
    if k != "auto":
        return FixedLength(int(k))
    return LookupLength(costs) if drafter.free else AdaptiveLength(costs)
