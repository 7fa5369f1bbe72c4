"""Greedy verification: how many of a draft's tokens the model would have chosen itself.

Where it belongs: speculative decoding (Leviathan et al., 2211.17192). A small model has guessed some tokens; one
forward pass of the large one gives its logits after each of them, and the result must be what it alone would write.
"""

# %% learner
import numpy as np


def greedy_verification(logits: np.ndarray, draft: list[int]) -> list[int]:
    """The tokens that this round adds.

    logits: [len(draft) + 1, vocab], of the large model: row 0 is after the text so far, row i after i draft tokens.
    draft: the tokens that the small model proposed.
    returns: the accepted ones, then one more of the large model's own: the one it chose instead of the first that was
        rejected, or, if all were accepted, the one after them. So at least 1, at most len(draft) + 1.
    """
    # %% solution
    new: list[int] = []
    for row, proposed in zip(logits, [*draft, None], strict=True):
        new.append(int(row.argmax()))
        if new[-1] != proposed:
            break
    return new


# %% hints
HINTS = (
    "The large model's own choice is always right. The draft only decides how far one pass gets: as soon as it "
    "differs, all later rows were computed behind a wrong token.",
    "logits.argmax(axis=-1) is [len(draft) + 1]: choice i stands beside draft token i; the last has none.",
    "1. go through the rows; 2. add the model's choice; 3. stop if it is not the draft's token, or if there is none.",
    "for row, proposed in zip(logits, [*draft, None], strict=True):",
)


# %% check
LESSON = 9
CONCEPTS = ("speculative", "decode")


def cases(random):
    for choices, draft in (
        ([1], []), ([1, 2], [1]), ([1, 2], [0]), ([1, 2, 0], [1, 2]), ([1, 2, 0], [1, 0]), ([1, 2, 0], [2, 2]),
        ([2, 1, 0, 2], [0, 1, 0]), ([2, 1, 0, 2], [2, 0, 0]),
    ):  # fmt: skip
        yield {"logits": np.eye(3)[choices], "draft": draft}
    for length in (3, 4, 5, 6):
        logits = random.normal(size=(length + 1, 4))
        draft = logits.argmax(axis=-1)[:-1].tolist()
        wrong = int(random.integers(0, length + 1))
        yield {"logits": logits, "draft": [*draft[:wrong], *((token + 1) % 4 for token in draft[wrong:])]}


def the_draft_changes_nothing(inputs, result, run):
    """Every new token is the large model's own choice."""
    return result == inputs["logits"].argmax(axis=-1)[: len(result)].tolist()


def at_least_one(inputs, result, run):
    """Every round adds at least one token, and at most one more than the draft has."""
    return 1 <= len(result) <= len(inputs["draft"]) + 1


PROPERTIES = (at_least_one, the_draft_changes_nothing)
