"""Greedy verification: which draft tokens the target model would choose itself.

Where it is used: speculative decoding (Leviathan et al., 2211.17192). A small draft model has proposed some tokens. One
forward pass of the large target model gives its logits after each of them. The result must be the tokens that the
target model alone would generate.
"""

# %% learner
import numpy as np


def greedy_verification(logits: np.ndarray, draft: list[int]) -> list[int]:
    """Return the new tokens of this round.

    logits: [len(draft) + 1, vocab], of the target model. Row i is computed after i draft tokens. The target model
        chooses the token with the largest logit; of several equal ones the first, as argmax does.
    draft: the draft tokens.
    returns: the accepted draft tokens, then one token of the target model. If a draft token was rejected, this is the
        corrected token, which replaces the first rejected one. If all were accepted, it is the bonus token after them.
        So there are 1 to len(draft) + 1 tokens.
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
    "The choice of the target model is always correct. The draft only decides how many rows can be used: after the "
    "first difference, all later rows were computed after a wrong token.",
    "logits.argmax(axis=-1) is [len(draft) + 1]: choice i is compared with draft token i; the last choice is compared "
    "with none.",
    "1. go through the rows; 2. append the target model's choice; 3. stop if it differs from the draft token, or if "
    "there is no draft token.",
    "for row, proposed in zip(logits, [*draft, None], strict=True):",
)


# %% check
LESSON = 10
CONCEPTS = ("speculative", "decode")


def cases(random):
    for choices, draft in (
        ([1], []), ([1, 2], [1]), ([1, 2], [0]), ([1, 2, 0], [1, 2]), ([1, 2, 0], [1, 0]), ([1, 2, 0], [2, 2]),
        ([2, 1, 0, 2], [0, 1, 0]), ([2, 1, 0, 2], [2, 0, 0]),
    ):  # fmt: skip
        yield {"logits": np.eye(3)[choices], "draft": draft}
    for draft in ([0], [1]):  # two equal maxima: the first one counts, as in argmax
        yield {"logits": np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), "draft": draft}
    yield {"logits": np.array([[0.0, 1.0, 1.0]]), "draft": []}
    yield {"logits": np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]), "draft": [0]}  # in the row of the bonus token
    for length in (3, 4, 5, 6):
        logits = random.normal(size=(length + 1, 4))
        draft = logits.argmax(axis=-1)[:-1].tolist()
        wrong = int(random.integers(0, length + 1))
        yield {"logits": logits, "draft": [*draft[:wrong], *((token + 1) % 4 for token in draft[wrong:])]}


def the_draft_changes_no_token(inputs, result, run):
    """Every new token must be the target model's own choice."""
    return result == inputs["logits"].argmax(axis=-1)[: len(result)].tolist()


def at_least_one(inputs, result, run):
    """A round must give at least one token, and at most one more than the draft has."""
    return 1 <= len(result) <= len(inputs["draft"]) + 1


PROPERTIES = (at_least_one, the_draft_changes_no_token)


def plug(function):
    """The engine judges one draft token at a time: `minillm generate --speculative --with DIR`, without a temperature.

    A distribution with one possible token is greedy. For others the engine's own function runs.
    """
    from minillm.speculative.rounds import accept_or_correct as own

    def accept_or_correct(token, p, q, generator):
        return function(np.stack([p, p]), [token])[0] if p.max() == 1 else own(token, p, q, generator)

    return {"minillm.speculative.rounds.accept_or_correct": accept_or_correct}
