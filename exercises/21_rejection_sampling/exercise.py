"""Rejection sampling: drafting changes the speed, but not the distribution of the tokens.

Where it is used: speculative decoding with a temperature (Leviathan et al., 2211.17192, section 2.3; Chen et al.,
2302.01318). The probability of accepting a draft token is chosen so that the result has exactly the target model's
distribution.
"""

# %% learner
import numpy as np


def rejection_sampling(
    target: np.ndarray, draft_probs: np.ndarray, draft: list[int], uniforms: np.ndarray
) -> list[int]:
    """Return the new tokens of this round.

    target: [len(draft) + 1, vocab]: the target model's probabilities p. Row i is computed after i draft tokens.
    draft_probs: [len(draft), vocab]: the probabilities q from which each draft token was sampled.
    draft: the draft tokens.
    uniforms: [len(draft) + 1], between 0 and 1. Number i decides about draft token i. The last one samples a token.
    returns: the accepted draft tokens, then one sampled token. Draft token i is accepted if uniforms[i] < p(token) /
        q(token). At the first rejected token, sample from max(0, p - q), scaled to sum to 1. If all are accepted,
        sample from the last row of target. To sample: take the first token whose cumulative probability is above
        uniforms[-1].
    """
    # %% solution
    accepted = 0
    while accepted < len(draft):
        token = draft[accepted]
        if uniforms[accepted] * draft_probs[accepted, token] >= target[accepted, token]:
            break
        accepted += 1
    probs = target[accepted]  # [vocab]
    if accepted < len(draft):
        probs = np.maximum(0, probs - draft_probs[accepted])
    cumulative = np.cumsum(probs / probs.sum())
    return [*draft[:accepted], int(np.searchsorted(cumulative, uniforms[-1], side="right"))]


# %% hints
HINTS = (
    "If the draft model proposes a token too often (q > p), the token is accepted with probability p / q. The residual "
    "distribution makes up for the rejected tokens: it has the tokens that the draft model proposes too rarely, p - q "
    "where this is positive.",
    "p and q of one position are rows [vocab]; np.maximum(0, p - q) divided by its sum is a distribution [vocab]; its "
    "np.cumsum is compared with one uniform number.",
    "1. count the accepted tokens, up to the first rejected one; 2. choose the distribution of the last token: the "
    "residual at the rejected token, or the last row; 3. sample from it with uniforms[-1].",
    "probs = np.maximum(0, probs - draft_probs[accepted])",
)


# %% check
LESSON = 10
CONCEPTS = ("speculative", "sampling")


def cases(random):
    p, q = np.array([[0.75, 0.25]]), np.array([[0.25, 0.75]])
    yield {"target": p, "draft_probs": q[:0], "draft": [], "uniforms": np.array([0.5])}
    yield {"target": p[:, ::-1].copy(), "draft_probs": q[:0], "draft": [], "uniforms": np.array([0.25])}  # exactly
    for own, first in (([0.0, 1.0], 0.0), ([0.25, 0.75], 0.5)):  # u = p / q, and p may be 0
        target = np.array([own, [0.5, 0.5]])
        yield {"target": target, "draft_probs": np.full((1, 2), 0.5), "draft": [0], "uniforms": np.array([first, 0.5])}
    for token, first, last in ((0, 0.9, 0.8), (1, 0.2, 0.8), (1, 0.5, 0.9), (1, 0.4, 0.1)):
        target = np.concatenate([p, [[0.5, 0.5]]])
        yield {"target": target, "draft_probs": q, "draft": [token], "uniforms": np.array([first, last])}
    two = np.array([[0.25, 0.75], [0.25, 0.75], [0.5, 0.5]])
    yield {"target": two, "draft_probs": two[[0, 0]][:, ::-1].copy(), "draft": [0, 1], "uniforms": np.full(3, 0.9)}
    for length in (1, 2, 2, 3, 3, 4, 4, 5):
        probs = random.dirichlet(np.ones(4), 2 * length + 1)
        draft = random.integers(0, 4, length).tolist()
        uniforms = random.random(length + 1)
        uniforms[: length // 2] /= 8  # so that some tokens are accepted
        yield {"target": probs[: length + 1], "draft_probs": probs[length + 1 :], "draft": draft, "uniforms": uniforms}


def a_draft_of_the_target_itself_is_accepted(inputs, result, run):
    """If q equals p, every draft token must be accepted."""
    own = inputs["target"][:-1]
    if any(row[token] == 0 for row, token in zip(own, inputs["draft"], strict=True)):
        return True  # such a token is never drafted
    return run(draft_probs=own)[:-1] == inputs["draft"]


def the_result_has_the_target_distribution(inputs, result, run):
    """Over many uniform numbers, the first new token must be distributed as p, for every q."""
    if len(inputs["draft"]) != 1 or inputs["target"].shape[1] != 2:
        return True
    p, q, grid, count = inputs["target"], inputs["draft_probs"][0], (np.arange(4) + 0.5) / 4, 0.0
    for token in (0, 1):
        firsts = [run(draft=[token], uniforms=np.array([first, last]))[0] for first in grid for last in grid]
        count += q[token] * np.mean(np.array(firsts) == 0)
    return abs(count - p[0, 0]) < 0.1


PROPERTIES = (a_draft_of_the_target_itself_is_accepted, the_result_has_the_target_distribution)


def plug(function):
    """The engine judges one draft token at a time: `minillm generate --speculative --temperature 1 --with DIR`.

    A distribution with one possible token is greedy, which is the subject of exercise 20.
    """
    from minillm.speculative.rounds import accept_or_correct as before

    def accept_or_correct(token, p, q, generator):
        if p.max() == 1:
            return before(token, p, q, generator)
        first, target = generator.random(), np.stack([p, p])
        if len(function(target, q[None], [token], np.array([first, 0.5]))) == 2:
            return token
        return function(target, q[None], [token], np.array([first, generator.random()]))[0]

    return {"minillm.speculative.rounds.accept_or_correct": accept_or_correct}
