"""Top-p: sample from the few tokens that have most of the probability.

Where the engine does it: `probabilities` in minillm/sampling.py. It keeps the smallest set of most probable tokens
whose total probability reaches p (nucleus sampling: Holtzman et al., 1904.09751). Then it scales them to sum to 1.
"""

# %% learner
import numpy as np


def top_p(probs: np.ndarray, p: float) -> np.ndarray:
    """Keep the most probable tokens until their total probability reaches p, including the one that crosses p.

    probs: [vocab], float64, sums to 1.
    p: in (0, 1].
    returns: [vocab], sums to 1. It is 0 where a token is not kept. Of equally probable tokens the lower id comes first.
    """
    # %% solution
    ranked = np.argsort(-probs, kind="stable")  # most probable first
    before = np.cumsum(probs[ranked]) - probs[ranked]  # the total probability of the tokens before
    kept = ranked[before < p]
    filtered = np.zeros_like(probs)
    filtered[kept] = probs[kept] / probs[kept].sum()
    return filtered


# %% hints
HINTS = (
    "Go through the tokens from the most probable down. Keep a token if the total probability of those *before* it is "
    "below p. So the token that crosses p is kept, and the first one always is.",
    "ranked = np.argsort(-probs, kind='stable') is [vocab]: the ids, the most probable first. probs[ranked] is sorted. "
    "Its np.cumsum is the total probability up to each token, including it.",
    "1. Rank the tokens. 2. The total before each = cumsum - own probability. 3. Keep tokens where it is < p. 4. Put "
    "the kept probabilities back at their ids, divided by their sum.",
    "before = np.cumsum(probs[ranked]) - probs[ranked]",
)


# %% check
LESSON = 6
CONCEPTS = ("sampling", "decode")


def cases(random):
    yield {"probs": np.array([0.25, 0.75]), "p": 0.5}
    yield {"probs": np.array([0.5, 0.125, 0.375]), "p": 0.75}
    yield {"probs": np.array([0.25, 0.5, 0.25]), "p": 0.5}
    yield {"probs": np.array([0.125, 0.25, 0.25, 0.375]), "p": 0.5}
    yield {"probs": np.array([0.125, 0.25, 0.0, 0.625]), "p": 1.0}
    yield {"probs": np.tile([1 / 128, 3 / 128], 32), "p": 0.5}  # an unstable sort leaves the order of the ids
    for vocab, p in ((5, 0.3), (6, 0.9), (12, 0.6), (20, 0.05)):
        scores = np.exp(random.normal(size=vocab))
        yield {"probs": scores / scores.sum(), "p": p}


def sums_to_one(inputs, result, run):
    """The kept probabilities sum to 1."""
    return np.isclose(result.sum(), 1)


def kept_mass_reaches_p(inputs, result, run):
    """The total probability of the kept tokens is at least p."""
    return inputs["probs"][result > 0].sum() >= inputs["p"] - 1e-9


def no_kept_token_is_needless(inputs, result, run):
    """Without the least probable of the kept tokens, the total would be below p."""
    kept = np.sort(inputs["probs"][result > 0])
    return kept[1:].sum() < inputs["p"]


PROPERTIES = (sums_to_one, kept_mass_reaches_p, no_kept_token_is_needless)


def engine(probs, p):
    from minillm.sampling import Sampling, probabilities

    with np.errstate(divide="ignore"):
        logits = np.maximum(np.log(probs), -1000)  # a probability of 0
    return probabilities(logits, Sampling(temperature=1.0, top_p=p))


def plug(function):
    """The engine calls it for each token that is drawn: `minillm generate --temperature 1 --top-p 0.9 --with DIR`."""
    from dataclasses import replace

    from minillm.sampling import _keep

    def keep(probs, sampling):
        kept = _keep(probs, replace(sampling, top_p=1.0))
        if sampling.top_p == 1:
            return kept
        top_k_probs = np.where(np.arange(len(probs)) < (sampling.top_k or len(probs)), probs, 0)
        return kept & (function(top_k_probs / top_k_probs.sum(), max(float(sampling.top_p), 1e-300)) > 0)

    return {"minillm.sampling._keep": keep}
