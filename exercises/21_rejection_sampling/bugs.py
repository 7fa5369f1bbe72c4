"""Wrong answers to `rejection_sampling`."""

import numpy as np


def _sample(probs, uniform, side="right"):
    return min(int(np.searchsorted(np.cumsum(probs / probs.sum()), uniform, side=side)), len(probs) - 1)


def _accepted(target, draft_probs, draft, uniforms):
    accepted = 0
    while accepted < len(draft):
        token = draft[accepted]
        if uniforms[accepted] * draft_probs[accepted, token] >= target[accepted, token]:
            break
        accepted += 1
    return accepted


def _residual(target, draft_probs, index):
    return np.maximum(0, target[index] - draft_probs[index]) if index < len(draft_probs) else target[index]


def sampled_from_the_target(target, draft_probs, draft, uniforms):
    """After a rejection, the token was sampled from p, so some tokens appear too often. Sample from max(0, p - q)."""
    accepted = _accepted(target, draft_probs, draft, uniforms)
    return [*draft[:accepted], _sample(target[accepted], uniforms[-1])]


def residual_not_scaled(target, draft_probs, draft, uniforms):
    """max(0, p - q) was not scaled to sum to 1, so uniforms[-1] can be above its last cumulative value."""
    accepted = _accepted(target, draft_probs, draft, uniforms)
    cumulative = np.cumsum(_residual(target, draft_probs, accepted))
    return [*draft[:accepted], min(int(np.searchsorted(cumulative, uniforms[-1], side="right")), len(cumulative) - 1)]


def ratio_inverted(target, draft_probs, draft, uniforms):
    """The ratio is inverted: a token is accepted with probability p / q, not q / p."""
    accepted = 0
    while accepted < len(draft):
        token = draft[accepted]
        if uniforms[accepted] * target[accepted, token] >= draft_probs[accepted, token]:
            break
        accepted += 1
    residual = _residual(target, draft_probs, accepted)
    return [*draft[:accepted], _sample(residual if residual.sum() else target[accepted], uniforms[-1])]


def same_number_for_all(target, draft_probs, draft, uniforms):
    """The same uniform number decided about all draft tokens. Use uniforms[i] for draft token i."""
    accepted = _accepted(target, draft_probs, draft, np.full(len(uniforms), uniforms[0]))
    return [*draft[:accepted], _sample(_residual(target, draft_probs, accepted), uniforms[-1])]


def sampled_with_the_rejecting_number(target, draft_probs, draft, uniforms):
    """The number that rejected the token also sampled the next one, so both are not independent. Use uniforms[-1]."""
    accepted = _accepted(target, draft_probs, draft, uniforms)
    return [*draft[:accepted], _sample(_residual(target, draft_probs, accepted), uniforms[accepted])]


def accepted_only_if_p_is_larger(target, draft_probs, draft, uniforms):
    """Tokens were accepted only if p >= q. A token with p < q is accepted with probability p / q."""
    accepted = 0
    while accepted < len(draft):
        token = draft[accepted]
        if target[accepted, token] < draft_probs[accepted, token]:
            break
        accepted += 1
    return [*draft[:accepted], _sample(_residual(target, draft_probs, accepted), uniforms[-1])]


def all_that_pass(target, draft_probs, draft, uniforms):
    """Draft tokens after a rejected one were accepted. They were sampled after a token that was removed."""
    kept = [t for i, t in enumerate(draft) if uniforms[i] * draft_probs[i, t] < target[i, t]]
    return [*kept, _sample(_residual(target, draft_probs, len(kept)), uniforms[-1])]


def accepted_at_exactly_the_ratio(target, draft_probs, draft, uniforms):
    """A token was accepted with uniforms[i] equal to p / q: the comparison is <, so p = 0 is never accepted."""
    accepted = 0
    while accepted < len(draft):
        token = draft[accepted]
        if uniforms[accepted] * draft_probs[accepted, token] > target[accepted, token]:
            break
        accepted += 1
    return [*draft[:accepted], _sample(_residual(target, draft_probs, accepted), uniforms[-1])]


def sampled_at_the_cumulative_probability(target, draft_probs, draft, uniforms):
    """The sampled token's cumulative probability may equal uniforms[-1]: take the first one above it."""
    accepted = _accepted(target, draft_probs, draft, uniforms)
    return [*draft[:accepted], _sample(_residual(target, draft_probs, accepted), uniforms[-1], side="left")]
