"""Wrong answers to `greedy_verification`."""


def _accepted(logits, draft):
    choices = logits.argmax(axis=-1).tolist()
    accepted = 0
    while accepted < len(draft) and choices[accepted] == draft[accepted]:
        accepted += 1
    return choices, accepted


def free_token_forgotten(logits, draft):
    """The large model's own token is missing: its logits are there already, so every round adds one more."""
    _, accepted = _accepted(logits, draft)
    return draft[:accepted]


def nothing_after_a_full_draft(logits, draft):
    """All of the draft was accepted, and the token after it was left out: its logits are in the last row."""
    choices, accepted = _accepted(logits, draft)
    return choices[: min(accepted + 1, max(1, len(draft)))]


def rejected_token_kept(logits, draft):
    """The rejected token was kept: in its place comes the large model's choice."""
    choices, accepted = _accepted(logits, draft)
    return [*draft[: accepted + 1], choices[accepted + 1]] if accepted < len(draft) else choices


def all_that_agree(logits, draft):
    """Tokens behind a rejected one were accepted: their logits were computed behind a wrong token."""
    choices, _ = _accepted(logits, draft)
    agreeing = [token for token, choice in zip(draft, choices, strict=False) if token == choice]
    return [*agreeing, choices[len(agreeing)]]


def rows_shifted(logits, draft):
    """Each draft token was compared with the row after it: row i is the model's view *before* draft token i."""
    choices = logits.argmax(axis=-1).tolist()
    accepted = 0
    while accepted < len(draft) and choices[accepted + 1] == draft[accepted]:
        accepted += 1
    return [*draft[:accepted], choices[accepted]]


def all_choices(logits, draft):
    """All rows were taken: those behind the first rejected token are worth nothing."""
    return logits.argmax(axis=-1).tolist()
