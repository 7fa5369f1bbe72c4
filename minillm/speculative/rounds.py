"""Speculative decoding: several tokens from one forward pass, with the distribution of one at a time.

A round is *draft, verify, accept or reject, correct, truncate*:

    guesses x_1 .. x_k, each drawn from the draft's distribution q_i            (speculative/drafters.py)
    one forward of the target over the last token and x_1 .. x_k: p_1 .. p_(k+1)
    accept x_i while  r < p_i(x_i) / q_i(x_i),  r uniform in [0, 1)
    at the first rejection draw the token from  norm(max(0, p_i - q_i));  if there was none, a bonus from p_(k+1)
    forget the keys and values of rejected guesses, in the target's cache and in the draft's

Each token then has exactly the target's distribution: min(p, q) + (1 - sum(min(p, q))) norm(max(0, p - q)) = p. For
that, p and q must both be what is really sampled from: after penalty, temperature and filters. Greedy decoding is the
case in which p is one-hot: guesses are accepted while they are the target's own choice, and the text is the same as
without speculation. With temperature above 0 it is the same in distribution, not in its tokens: random numbers are
used for other things. Sources: Leviathan et al., 2211.17192, algorithm 1; Chen et al., 2302.01318.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from minillm.arrays import Array, Float
from minillm.completion import Completion, Step
from minillm.sampling import probabilities, sample_from
from minillm.speculative.draft_length import DraftLength
from minillm.speculative.drafters import Draft, Drafter
from minillm.support.interrupts import defer_interrupts

ACCEPTED, CORRECTED, BONUS = "accepted", "corrected", "bonus"  # Step.origin


def residual(p: Float[Array, "vocab"], q: Float[Array, "vocab"]) -> Float[Array, "vocab"]:
    """norm(max(0, p - q)): what the target gives more than the draft; drawn from after a rejection."""
    more = np.maximum(p - q, 0.0)
    return more / more.sum() if more.any() else p  # none: p is q up to a rounding


def accept_or_correct(
    token: int, p: Float[Array, "vocab"], q: Float[Array, "vocab"], generator: np.random.Generator
) -> int:
    """The guess, with probability min(1, p / q) of it; else a token from the residual, which is never the guess."""
    if generator.random() * q[token] < p[token]:
        return token
    return sample_from(residual(p, q), generator)


def verify_draft(completion: Completion, draft: Draft, logits: Float[Array, "rows vocab"]) -> list[Step]:
    """Accept, reject and correct one draft; the completion grows by one token at least.

    Args:
        completion: the request; its own sampling and generator decide.
        draft: guesses that follow its sequence.
        logits: the target's, after the last token of the sequence and after each guess.

    Raises:
        ValueError: a logit of the first row is not a number, or infinite; nothing has changed then. A later row of
            that kind ends the round before it: what was accepted counts, and the next round begins there.
    """
    steps = list[Step]()
    for index, draft_token in enumerate(draft.tokens):
        if steps and not np.isfinite(logits[index]).all():
            return steps
        # The penalty looks at the tokens so far, accepted guesses among them.
        p = probabilities(logits[index], completion.sampling, completion.sequence)
        token = accept_or_correct(draft_token, p, draft.probs_of(index, len(p)), completion.generator)
        steps.append(completion.append(token, logits[index], ACCEPTED if token == draft_token else CORRECTED))
        if token != draft_token or completion.finish_reason:
            return steps
    if steps and not np.isfinite(logits[-1]).all():
        return steps
    return [*steps, completion.add(logits[-1], BONUS if draft.tokens else "")]


@dataclass
class SpeculationCounts:
    """What speculation has done.

    Attributes:
        rounds: forward passes of the target after the prompt's.
        proposed: guesses that were verified.
        accepted: guesses that became tokens.
        rejected: rounds in which a guess was rejected; what stood behind it was not judged.
        lengths: how many rounds had so many guesses.
    """

    rounds: int = 0
    proposed: int = 0
    accepted: int = 0
    rejected: int = 0
    lengths: Counter[int] = field(default_factory=Counter)

    def record(self, proposed: int, accepted: int, rejected: int) -> None:
        """One round more."""
        self.rounds += 1
        self.proposed += proposed
        self.accepted += accepted
        self.rejected += rejected
        self.lengths[proposed] += 1


class Speculation:
    """How one request speculates. `propose`, run the target over the last token and the guesses, `verify`.

    Attributes:
        draft: guesses that have yet to be verified; None if there are none. They wait as long as it takes, so that
            nothing is drawn twice when a request is interrupted.
        counts: so far.
    """

    def __init__(self, drafter: Drafter, length: DraftLength) -> None:
        """No round yet."""
        self.drafter, self.length = drafter, length
        self.draft: Draft | None = None
        self.counts = SpeculationCounts()
        self._watched: Draft | None = None  # in a round without a draft the first guess that was not worth verifying
        self._k: int | None = None  # chosen for the round that has yet to be drafted

    def propose(self, completion: Completion) -> list[int]:
        """The guesses to verify next; none, if it does not pay or only one token more is wanted."""
        if self.draft is None:
            if self._k is None:  # else drafting was interrupted; a second choice would count as a round more
                with defer_interrupts():
                    self._k = self.length.choose()
            left = completion.max_new_tokens - len(completion.tokens)
            self._make_draft(completion, min(self._k, left - 1))  # a round gives up to k + 1 tokens
        assert self.draft is not None
        return self.draft.tokens

    def verify(self, completion: Completion, logits: Float[Array, "rows vocab"]) -> list[Step]:
        """Verify the draft; the drafter forgets what was rejected, as the caller's cache must, too."""
        draft = self.draft
        assert draft is not None, "there is nothing to verify"
        steps = verify_draft(completion, draft, logits)
        self.draft = None
        self.drafter.truncate(len(completion.sequence) - 1)
        accepted = sum(step.origin == ACCEPTED for step in steps)
        self.counts.record(len(draft.tokens), accepted, int(steps[-1].origin == CORRECTED))
        self.length.observe(draft, accepted)
        if self._watched:
            self.length.observe(self._watched, int(self._watched.tokens == [steps[0].token]))
        return steps

    def _make_draft(self, completion: Completion, k: int) -> None:
        """Draft; an interruption leaves generator and drafter as they were."""
        generator = completion.generator
        state = generator.bit_generator.state
        try:
            draft = self.drafter.propose(completion.sequence, k, completion.sampling, generator) if k else Draft([])
            kept = draft.first(self.length.keep(draft))
            with defer_interrupts():
                self.draft, self._watched, self._k = kept, None if kept.tokens else draft.first(1), None
        except BaseException:
            if self.draft is None:
                generator.bit_generator.state = state
                self.drafter.truncate(len(completion.sequence) - 1)
            raise
