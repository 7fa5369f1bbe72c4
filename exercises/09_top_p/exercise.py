"""Top-p: draw from the few tokens that carry most of the probability.

Where the engine does it: `probabilities` in minillm/sampling.py. The smallest set of most probable tokens whose mass
reaches p is kept (nucleus sampling: Holtzman et al., 1904.09751), and what is kept is scaled to sum to 1.
"""

# %% learner
import numpy as np


def top_p(probs: np.ndarray, p: float) -> np.ndarray:
    """Keep the most probable tokens until their mass reaches p, the one that crosses p included.

    probs: [vocab], float64, sums to 1.
    p: in (0, 1].
    returns: [vocab], sums to 1; 0 where a token is not kept. Of equally probable tokens the lower id comes first.
    """
    # %% solution
    ranked = np.argsort(-probs, kind="stable")  # most probable first
    before = np.cumsum(probs[ranked]) - probs[ranked]  # the mass of the more probable ones
    kept = ranked[before < p]
    filtered = np.zeros_like(probs)
    filtered[kept] = probs[kept] / probs[kept].sum()
    return filtered


# %% hints
HINTS = (
    "Go through the tokens from the most probable down. A token is kept as long as those *before* it have not reached "
    "p yet; so the one that crosses p is kept, and the first always is.",
    "np.argsort(-probs, kind='stable') is a ranking [vocab] of ids; probs[ranking] is sorted; np.cumsum of it is the "
    "mass up to and with each.",
    "1. rank; 2. mass before each = cumsum - own; 3. keep where that is < p; 4. put the kept ones back at their ids, "
    "divided by their sum.",
    "before = np.cumsum(probs[ranked]) - probs[ranked]",
)


# %% check
LESSON = 5
CONCEPTS = ("sampling", "decode")


def cases(random):
    yield {"probs": np.array([0.25, 0.75]), "p": 0.5}
    yield {"probs": np.array([0.5, 0.125, 0.375]), "p": 0.75}
    yield {"probs": np.array([0.25, 0.5, 0.25]), "p": 0.5}
    yield {"probs": np.array([0.125, 0.25, 0.25, 0.375]), "p": 0.5}
    yield {"probs": np.array([0.125, 0.25, 0.0, 0.625]), "p": 1.0}
    for vocab, p in ((5, 0.3), (6, 0.9), (12, 0.6), (20, 0.05)):
        scores = np.exp(random.normal(size=vocab))
        yield {"probs": scores / scores.sum(), "p": p}


def sums_to_one(inputs, result, run):
    """What is kept sums to 1."""
    return np.isclose(result.sum(), 1)


def kept_mass_reaches_p(inputs, result, run):
    """The tokens that are kept had at least mass p together."""
    return inputs["probs"][result > 0].sum() >= inputs["p"] - 1e-9


def no_kept_token_is_needless(inputs, result, run):
    """Without the least probable token kept, the mass would be below p."""
    kept = np.sort(inputs["probs"][result > 0])
    return kept[1:].sum() < inputs["p"]


PROPERTIES = (sums_to_one, kept_mass_reaches_p, no_kept_token_is_needless)
