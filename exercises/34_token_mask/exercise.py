"""Token masks: make every answer one of a few allowed texts.

The engine here has no masks. Servers offer them as structured output (Willard and Louf, 2307.09702): before each token
is chosen, the logits of all tokens that cannot lead to an allowed text are set to -inf. Article: The Decode Phase.
"""

# %% learner
import numpy as np


def token_mask(texts: list[str], end: int, written: str, allowed: list[str]) -> np.ndarray:
    """Return which tokens may come next, so that the answer can become one of the allowed texts.

    texts: the text of each token. The end-of-sequence token has an empty text, and other special tokens, too.
    end: the id of the end-of-sequence token.
    written: the text of the answer so far. It is the beginning of an allowed text.
    allowed: the allowed texts. One may be the beginning of another.
    returns: [vocab], bool. A token is allowed if its text is not empty and an allowed text begins with the answer and
        this token. The end-of-sequence token is allowed exactly if the answer is an allowed text already.
    """
    # %% solution
    mask = np.zeros(len(texts), dtype=bool)
    for token, text in enumerate(texts):
        answer = written + text
        mask[token] = bool(text) and any(target.startswith(answer) for target in allowed)
    mask[end] = written in allowed
    return mask


# %% hints
HINTS = (
    "A token is one step on the way to an allowed text, often not the last one. So ask whether any allowed text begins "
    "with what would be written then.",
    "The mask is [vocab], one bool for each token. Each token gives one text to test, against all allowed texts.",
    "1. A mask of False. 2. For each token with a text: is written + text the beginning of an allowed text? 3. The end "
    "token: is `written` itself an allowed text?",
    "mask[token] = bool(text) and any(target.startswith(answer) for target in allowed)",
)


# %% check
LESSON = 6
CONCEPTS = ("sampling", "decode")
VOCAB = ["", "y", "ye", "yes", "es", "s", "n", "no", "o", "not", "t", "1", "0", "10", "yes!", ""]


def cases(random):
    yield {"texts": ["", "a"], "end": 0, "written": "", "allowed": ["a"]}
    yield {"texts": ["", "a"], "end": 0, "written": "a", "allowed": ["a"]}
    yield {"texts": ["a", "b", "ab", ""], "end": 3, "written": "", "allowed": ["ab"]}
    yield {"texts": ["a", "b", "ab", ""], "end": 3, "written": "a", "allowed": ["ab"]}
    yield {"texts": ["a", "b", "ba", ""], "end": 3, "written": "a", "allowed": ["ab", "a"]}
    yield {"texts": ["1", "10", "0", "", ""], "end": 4, "written": "1", "allowed": ["1", "10"]}
    for written in ("", "y", "ye", "yes", "n", "no"):
        yield {"texts": VOCAB, "end": 0, "written": written, "allowed": ["yes", "no", "not"]}
    for _ in range(4):
        allowed = ["".join(random.choice(["a", "b"], int(length))) for length in random.integers(1, 5, 3)]
        target = allowed[int(random.integers(3))]
        written = target[: int(random.integers(len(target) + 1))]
        yield {"texts": ["a", "b", "", "aa", "ab", "ba", "bb", ""], "end": 2, "written": written, "allowed": allowed}


def something_is_allowed(inputs, result, run):
    """If each character is a token, the mask allows at least one token."""
    characters = sorted(set("".join(inputs["allowed"])))
    return run(texts=["", *characters], end=0).any()


def allowed_tokens_stay_on_the_way(inputs, result, run):
    """After each allowed token, the answer is the beginning of an allowed text."""
    kept = [inputs["texts"][token] for token in np.flatnonzero(result)]
    return all(any(target.startswith(inputs["written"] + text) for target in inputs["allowed"]) for text in kept)


PROPERTIES = (something_is_allowed, allowed_tokens_stay_on_the_way)
