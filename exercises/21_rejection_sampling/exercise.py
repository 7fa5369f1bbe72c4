"""Rejection sampling: a draft that changes speed, and not one probability.

Where it belongs: speculative decoding with a temperature (Leviathan et al., 2211.17192, section 2.3; Chen et al.,
2302.01318). The draft's token is kept with a probability that makes the result exactly the large model's distribution.
"""

# %% learner
import numpy as np


def rejection_sampling(
    target: np.ndarray, draft_probs: np.ndarray, draft: list[int], uniforms: np.ndarray
) -> list[int]:
    """The tokens that this round adds.

    target: [len(draft) + 1, vocab]: the large model's probabilities p; row i is after i draft tokens.
    draft_probs: [len(draft), vocab]: the probabilities q that each draft token was drawn from.
    draft: the tokens that the small model drew.
    uniforms: [len(draft) + 1], from 0 to 1: number i decides about draft token i; the last one is for the draw.
    returns: draft token i is accepted if uniforms[i] < p(token) / q(token). At the first that is not, one is drawn from
        max(0, p - q), scaled to sum to 1; if all are accepted, from the last row of target. To draw: the first token
        at which the cumulated probability is above uniforms[-1].
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
    cumulated = np.cumsum(probs / probs.sum())
    return [*draft[:accepted], int(np.searchsorted(cumulated, uniforms[-1], side="right"))]


# %% hints
HINTS = (
    "Where the draft proposes a token more often than the model would (q > p), it is kept only p / q of the time. What "
    "is lost that way is made up by drawing from what the draft proposes too seldom: p - q where it is positive.",
    "p and q at one place are rows [vocab]; np.maximum(0, p - q) / its sum is a distribution [vocab]; np.cumsum of it "
    "is compared with one uniform number.",
    "1. count how many are accepted, up to the first that is not; 2. the distribution for one more: the residual "
    "there, or the last row; 3. draw from it with uniforms[-1].",
    "probs = np.maximum(0, probs - draft_probs[accepted])",
)


# %% check
LESSON = 9
CONCEPTS = ("speculative", "sampling")


def cases(random):
    p, q = np.array([[0.75, 0.25]]), np.array([[0.25, 0.75]])
    yield {"target": p, "draft_probs": q[:0], "draft": [], "uniforms": np.array([0.5])}
    for token, first, last in ((0, 0.9, 0.8), (1, 0.2, 0.8), (1, 0.5, 0.9), (1, 0.4, 0.1)):
        target = np.concatenate([p, [[0.5, 0.5]]])
        yield {"target": target, "draft_probs": q, "draft": [token], "uniforms": np.array([first, last])}
    two = np.array([[0.25, 0.75], [0.25, 0.75], [0.5, 0.5]])
    yield {"target": two, "draft_probs": two[[0, 0]][:, ::-1].copy(), "draft": [0, 1], "uniforms": np.full(3, 0.9)}
    for length in (1, 2, 2, 3, 3, 4, 4, 5):
        probs = random.dirichlet(np.ones(4), 2 * length + 1)
        draft = random.integers(0, 4, length).tolist()
        uniforms = random.random(length + 1)
        uniforms[: length // 2] /= 8  # some are accepted
        yield {"target": probs[: length + 1], "draft_probs": probs[length + 1 :], "draft": draft, "uniforms": uniforms}


def a_draft_of_the_model_itself_is_accepted(inputs, result, run):
    """If p equals q, every token of the draft is accepted."""
    own = run(draft_probs=inputs["target"][:-1])
    return own[:-1] == inputs["draft"]


def the_result_is_the_models_distribution(inputs, result, run):
    """Over many uniform numbers, the first new token is distributed as p, whatever q is."""
    if len(inputs["draft"]) != 1 or inputs["target"].shape[1] != 2:
        return True
    p, q, grid, count = inputs["target"], inputs["draft_probs"][0], (np.arange(4) + 0.5) / 4, 0.0
    for token in (0, 1):
        firsts = [run(draft=[token], uniforms=np.array([first, last]))[0] for first in grid for last in grid]
        count += q[token] * np.mean(np.array(firsts) == 0)
    return abs(count - p[0, 0]) < 0.1


PROPERTIES = (a_draft_of_the_model_itself_is_accepted, the_result_is_the_models_distribution)
