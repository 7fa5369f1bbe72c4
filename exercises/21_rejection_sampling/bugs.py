"""Wrong answers to `rejection_sampling`."""

import numpy as np


def _draw(probs, uniform):
    return min(int(np.searchsorted(np.cumsum(probs / probs.sum()), uniform, side="right")), len(probs) - 1)


def _accepted(target, draft_probs, draft, uniforms):
    accepted = 0
    while accepted < len(draft):
        token = draft[accepted]
        if uniforms[accepted] * draft_probs[accepted, token] >= target[accepted, token]:
            break
        accepted += 1
    return accepted


def _residual(target, draft_probs, place):
    return np.maximum(0, target[place] - draft_probs[place]) if place < len(draft_probs) else target[place]


def drawn_from_the_model(target, draft_probs, draft, uniforms):
    """After a rejection it was drawn from p: tokens the draft proposes come too often then. Draw from max(0, p - q)."""
    accepted = _accepted(target, draft_probs, draft, uniforms)
    return [*draft[:accepted], _draw(target[accepted], uniforms[-1])]


def residual_not_scaled(target, draft_probs, draft, uniforms):
    """max(0, p - q) was not scaled to sum to 1, so the draw falls beyond its end."""
    accepted = _accepted(target, draft_probs, draft, uniforms)
    cumulated = np.cumsum(_residual(target, draft_probs, accepted))
    return [*draft[:accepted], min(int(np.searchsorted(cumulated, uniforms[-1], side="right")), len(cumulated) - 1)]


def ratio_turned_over(target, draft_probs, draft, uniforms):
    """The ratio is turned over: a token is accepted with probability p / q, not q / p."""
    accepted = 0
    while accepted < len(draft):
        token = draft[accepted]
        if uniforms[accepted] * target[accepted, token] >= draft_probs[accepted, token]:
            break
        accepted += 1
    residual = _residual(target, draft_probs, accepted)
    return [*draft[:accepted], _draw(residual if residual.sum() else target[accepted], uniforms[-1])]


def same_number_for_all(target, draft_probs, draft, uniforms):
    """One uniform number decided about all draft tokens, as if the generator were seeded anew each time."""
    accepted = _accepted(target, draft_probs, draft, np.full(len(uniforms), uniforms[0]))
    return [*draft[:accepted], _draw(_residual(target, draft_probs, accepted), uniforms[-1])]


def draw_with_the_deciding_number(target, draft_probs, draft, uniforms):
    """The number that rejected the token also drew the next one, so the two are not independent: use the last one."""
    accepted = _accepted(target, draft_probs, draft, uniforms)
    return [*draft[:accepted], _draw(_residual(target, draft_probs, accepted), uniforms[accepted])]


def accepted_if_the_model_prefers_it(target, draft_probs, draft, uniforms):
    """Tokens were accepted only if p >= q: those with p < q have a chance of p / q."""
    accepted = 0
    while accepted < len(draft):
        token = draft[accepted]
        if target[accepted, token] < draft_probs[accepted, token]:
            break
        accepted += 1
    return [*draft[:accepted], _draw(_residual(target, draft_probs, accepted), uniforms[-1])]


def all_that_pass(target, draft_probs, draft, uniforms):
    """Tokens behind a rejected one were accepted: they were drawn behind a token that is not there any more."""
    kept = [t for i, t in enumerate(draft) if uniforms[i] * draft_probs[i, t] < target[i, t]]
    return [*kept, _draw(_residual(target, draft_probs, len(kept)), uniforms[-1])]
