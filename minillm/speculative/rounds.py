"""Speculative decoding: several tokens from one forward pass, with the distribution of one at a time.

A round drafts k tokens, verifies them in one pass of the target model, corrects the first that is rejected, and
truncates both caches. Here k = 4 and the third draft token is rejected:

    sequence      Once upon a time
    draft tokens  there      was        --three--  --big--               x_1 .. x_4, drawn from q_1 .. q_4

    the target's pass over 5 rows
      row         time       there      was        three      big
      gives       p_1        p_2        p_3        p_4        p_5
      judges      there      was        three      big        (bonus)
      verdict     accepted   accepted   rejected   unused     unused
    correction                          a                                drawn from norm(max(0, p_3 - q_3))

    sequence      Once upon a time there was a                           3 new tokens from one pass
    target cache  Once upon a time there was   | three big               what is after the bar is truncated
    draft cache   Once upon a time there was   | three                   the last draft token was not fed

The rules: accept x_i if r < p_i(x_i) / q_i(x_i), with r uniform in [0, 1). At the first rejection draw the token
from norm(max(0, p_i - q_i)). If all k are accepted, draw a bonus token from p_(k+1).

A token comes out in two ways: drafted and accepted, with probability min(p, q), or drawn after a rejection. So each
token has exactly the target's distribution: min(p, q) + (1 - sum(min(p, q))) norm(max(0, p - q)) = p. For
that, p and q must be what is sampled from: after penalty, temperature and filters. In greedy decoding p is one-hot:
draft tokens are accepted while they are the target's own choice, and the text is the same as without speculation. With
temperature above 0 the distribution is the same, but the tokens of one seed differ, because more
random numbers are drawn. Sources: Leviathan et al., 2211.17192, algorithm 1; Chen et al., 2302.01318.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from minillm.arrays import Array, Float
from minillm.completion import Completion, Step
from minillm.events import DraftJudged, DraftProposed, DraftVerified, Tell, listener, tell
from minillm.sampling import probabilities, sample_from
from minillm.speculative.draft_length import DraftLength
from minillm.speculative.drafters import Draft, Drafter, check_draft

ACCEPTED, CORRECTED, BONUS = "accepted", "corrected", "bonus"  # Step.origin


def residual(p: Float[Array, "vocab"], q: Float[Array, "vocab"]) -> Float[Array, "vocab"]:
    """Return norm(max(0, p - q)), which a correction is drawn from.

    >>> residual(np.array([0.5, 0.5]), np.array([0.75, 0.25]))
    array([0., 1.])
    """
    more = np.maximum(p - q, 0.0)
    return more / more.sum() if more.any() else p  # all zeros: p equals q up to rounding


def accept_or_correct(
    token: int, p: Float[Array, "vocab"], q: Float[Array, "vocab"], generator: np.random.Generator
) -> int:
    """Return the draft token with probability min(1, p / q), else a token from the residual, never the draft token."""
    number = generator.random()
    accepted = bool(number * q[token] < p[token])
    if tell := listener():
        tell(DraftJudged(token, float(p[token]), float(q[token]), number, accepted))
    return token if accepted else sample_from(residual(p, q), generator)


def verify_draft(completion: Completion, draft: Draft, logits: Float[Array, "rows vocab"]) -> list[Step]:
    """Accept or correct the draft tokens in order, and append what comes of them: at least one token.

    Args:
        completion: the request; its own sampling and generator decide.
        draft: k tokens that may follow its sequence.
        logits: k + 1 rows of the target: after the last token of the sequence and after each draft token.

    Raises:
        ValueError: a logit of the first row is not finite; nothing has changed then. If a later row has one, the round
            ends before that row: what was accepted counts, and the next round raises.
    """
    steps = list[Step]()
    for index, draft_token in enumerate(draft.tokens):
        if steps and not np.isfinite(logits[index]).all():
            return steps
        # The repetition penalty sees the sequence so far, with the draft tokens that were accepted.
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
    """What speculation has done in one request.

    Attributes:
        rounds: forward passes of the target after the prompt's.
        proposed: draft tokens that the target ran, also those after a rejection, which were not judged.
        accepted: draft tokens that became tokens.
        rejected: rounds in which a draft token was rejected.
        lengths: for each number of draft tokens, how many rounds had it.
    """

    rounds: int = 0
    proposed: int = 0
    accepted: int = 0
    rejected: int = 0
    lengths: Counter[int] = field(default_factory=Counter)

    def record(self, proposed: int, accepted: int, rejected: int) -> None:
        """Add one round."""
        self.rounds += 1
        self.proposed += proposed
        self.accepted += accepted
        self.rejected += rejected
        self.lengths[proposed] += 1


class Speculation:
    """How one request speculates: `propose`, run the target over the last token and the draft tokens, `verify`.

    Attributes:
        draft: the draft that has yet to be verified; None if there is none. It waits as long as it takes, so that
            nothing is drawn twice when a pass is interrupted.
        counts: what was done so far.
    """

    def __init__(self, drafter: Drafter, length: DraftLength, tell: Tell = tell) -> None:
        self.drafter = drafter
        self.draft_length = length
        self.tell = tell
        self.draft: Draft | None = None
        self.counts = SpeculationCounts()
        self._proposed = Draft([])  # the draft before it was cut to what is worth verifying

    def propose(self, completion: Completion) -> list[int]:
        """Return the draft tokens to verify next: none if drafting does not pay, or if one token completes the answer.

        An interruption leaves the generator and the drafter as they were.
        """
        if self.draft is None:
            left = completion.max_new_tokens - len(completion.tokens)
            k = min(self.draft_length.choose(), left - 1)  # a round gives up to k + 1 tokens
            generator = completion.generator
            state = generator.bit_generator.state
            try:
                if k:
                    proposed = self.drafter.propose(completion.sequence, k, completion.sampling, generator)
                    self._proposed = check_draft(proposed).first(k)
                else:
                    self._proposed = Draft([])
                self.draft = self._proposed.first(self.draft_length.keep(self._proposed))
            except BaseException:
                if self.draft is None:  # undo: the next call draws the same numbers again
                    generator.bit_generator.state = state
                    self.drafter.truncate(len(completion.sequence) - 1)
                raise
            if self.draft.tokens:
                self.tell(DraftProposed(completion, tuple(self.draft.tokens), self.draft.probs))
        return self.draft.tokens

    def verify(self, completion: Completion, logits: Float[Array, "rows vocab"]) -> list[Step]:
        """Verify the draft and truncate the drafter; the caller truncates the target's cache to the same length."""
        draft = self.draft
        assert draft is not None, "there is nothing to verify"
        steps = verify_draft(completion, draft, logits)
        self.draft = None
        self.drafter.truncate(len(completion.sequence) - 1)  # the last token was not fed yet
        accepted = sum(step.origin == ACCEPTED for step in steps)
        self.counts.record(len(draft.tokens), accepted, int(steps[-1].origin == CORRECTED))
        if draft.tokens:
            self.tell(DraftVerified(completion, len(draft.tokens), accepted))
        self.draft_length.observe(self._proposed, [step.token for step in steps])
        return steps
