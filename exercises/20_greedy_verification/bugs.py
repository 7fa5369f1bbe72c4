"""Wrong answers to `greedy_verification`."""


def _accepted(logits, draft):
    choices = logits.argmax(axis=-1).tolist()
    accepted = 0
    while accepted < len(draft) and choices[accepted] == draft[accepted]:
        accepted += 1
    return choices, accepted


def own_token_missing(logits, draft):
    """The target model's own token is missing. Its logits are already computed, so every round adds one more token."""
    _, accepted = _accepted(logits, draft)
    return draft[:accepted]


def bonus_token_missing(logits, draft):
    """All draft tokens were accepted, but the bonus token is missing. Its logits are in the last row."""
    choices, accepted = _accepted(logits, draft)
    return choices[: min(accepted + 1, max(1, len(draft)))]


def rejected_token_kept(logits, draft):
    """The rejected token was kept. The target model's choice must replace it."""
    choices, accepted = _accepted(logits, draft)
    return [*draft[: accepted + 1], choices[accepted + 1]] if accepted < len(draft) else choices


def all_that_agree(logits, draft):
    """Draft tokens after a rejected one were accepted. Their logits were computed after a wrong token."""
    choices, _ = _accepted(logits, draft)
    agreeing = [token for token, choice in zip(draft, choices, strict=False) if token == choice]
    return [*agreeing, choices[len(agreeing)]]


def rows_shifted(logits, draft):
    """Each draft token was compared with the row after it. Row i gives the target model's choice for draft token i."""
    choices = logits.argmax(axis=-1).tolist()
    accepted = 0
    while accepted < len(draft) and choices[accepted + 1] == draft[accepted]:
        accepted += 1
    return [*draft[:accepted], choices[accepted]]


def all_choices(logits, draft):
    """All rows were used. The rows after the first rejected token are wrong, because they follow a wrong token."""
    return logits.argmax(axis=-1).tolist()


def any_maximum_accepted(logits, draft):
    """A draft token was accepted because its logit equals the largest one. Of equal logits only the first is chosen."""
    accepted = 0
    while accepted < len(draft) and logits[accepted, draft[accepted]] == logits[accepted].max():
        accepted += 1
    return [*draft[:accepted], int(logits[accepted].argmax())]


def last_maximum_as_bonus(logits, draft):
    """The bonus token is the last one of equal maxima. It is chosen like every other token: the first one counts."""
    choices, accepted = _accepted(logits, draft)
    last = logits.shape[1] - 1 - int(logits[-1, ::-1].argmax())
    return [*draft[:accepted], last if accepted == len(draft) else choices[accepted]]
