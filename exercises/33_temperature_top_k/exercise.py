"""Temperature and top-k: from logits to the distribution of the next token, on one page.

Where the engine does it: `probabilities` in minillm/sampling.py. The temperature says how much the most probable tokens
are preferred. Top-k then leaves out all but the k most probable ones. Article: The Decode Phase.
"""

# %% learner
import numpy as np


def temperature_top_k(logits: np.ndarray, temperature: float, top_k: int) -> np.ndarray:
    """Return the distribution from which the next token is drawn.

    logits: [vocab], float64, finite.
    temperature: at least 0. The logits are divided by it before softmax. It may be very small (0.001). With 0 the
        largest logit has probability 1, and of equal ones the first.
    top_k: at least 1: the number of tokens that are kept. It may be larger than the vocabulary.
    returns: [vocab], sums to 1. It is 0 where a token is not kept. Of equal logits the lower id comes first.
    """
    # %% solution
    kept = np.argsort(-logits, kind="stable")[: top_k if temperature > 0 else 1]  # largest first
    scores = (logits[kept] - logits[kept[0]]) / (temperature or 1.0)
    probs = np.zeros(len(logits))
    probs[kept] = np.exp(scores)
    return probs / probs.sum()


# %% hints
HINTS = (
    "Greedy decoding is top-k with k = 1. Softmax of the kept logits alone already sums to 1. Subtract the largest "
    "logit before you divide by a small temperature, because exp of a large number overflows.",
    "np.argsort(-logits, kind='stable') is [vocab]: the ids, the largest logit first. The first k of them index logits "
    "and the result.",
    "1. Rank the ids. 2. Keep the first k, or only 1 if the temperature is 0. 3. scores = (kept logits - largest) / "
    "temperature. 4. Put exp(scores) at the kept ids of an array of zeros. 5. Divide by the sum.",
    "kept = np.argsort(-logits, kind='stable')[: top_k if temperature > 0 else 1]",
)


# %% check
LESSON = 6
CONCEPTS = ("sampling", "decode")


def cases(random):
    for logits, temperature, top_k in (
        ([0.0, 1.0], 1.0, 2), ([0.0, 1.0], 2.0, 2), ([0.0, 1.0], 1.0, 1), ([1.0, 1.0], 0.0, 2), ([1.0, 3.0], 0.0, 2),
        ([1.0, 3.0, 2.0], 0.0, 3), ([-1.0, -3.0, -2.0], 1.0, 2), ([2.0, 0.0, 1.0], 1.0, 2),
        ([1.0, 2.0, 1.0], 1.0, 2), ([0.0, 1.0, 3.0], 0.5, 5),
        ([0.0, 2.0, 1.0], 0.001, 3), ([1000.0, 998.0, 999.0], 1.0, 3), ([0.0, 1.0, 2.0, 3.0], 2.0, 3),
    ):  # fmt: skip
        yield {"logits": np.array(logits), "temperature": temperature, "top_k": top_k}
    yield {"logits": np.tile([1.0, 2.0], 32), "temperature": 1.0, "top_k": 20}  # an unstable sort loses the order
    for vocab, temperature, top_k in ((5, 0.7, 3), (8, 1.5, 4), (10, 0.3, 2)):
        yield {"logits": random.normal(size=vocab), "temperature": temperature, "top_k": top_k}


def sums_to_one(inputs, result, run):
    """The probabilities sum to 1."""
    return np.isclose(result.sum(), 1)


def at_most_k_are_kept(inputs, result, run):
    """At most top_k tokens have a probability above 0."""
    return np.count_nonzero(result) <= inputs["top_k"]


def shift_changes_nothing(inputs, result, run):
    """The same number added to all logits changes nothing."""
    return np.allclose(run(logits=inputs["logits"] + 4.0), result)


PROPERTIES = (sums_to_one, at_most_k_are_kept, shift_changes_nothing)


def engine(logits, temperature, top_k):
    from minillm.sampling import Sampling, probabilities

    return probabilities(logits, Sampling(temperature=temperature, top_k=top_k))


def plug(function):
    """The engine calls it for each token that is drawn: `minillm generate --temperature 0.8 --top-k 40 --with DIR`.

    With other filters, such as top-p, the engine's own function runs.
    """
    from minillm.sampling import probabilities as own

    def probabilities(logits, sampling, seen=()):
        if sampling.top_p < 1 or sampling.min_p > 0 or sampling.repetition_penalty != 1:
            return own(logits, sampling, seen)
        return function(logits.astype(np.float64), float(sampling.temperature), sampling.top_k or len(logits))

    return {"minillm.sampling.probabilities": probabilities}
