"""Wrong answers to `naive_decode`."""


def new_tokens_counted_as_all(next_logits, tokens, max_new_tokens, eos):
    """The prompt was counted too: max_new_tokens is about new tokens, so a long prompt must not shorten the answer."""
    new = []
    for _ in range(len(tokens), max_new_tokens):
        new.append(int(next_logits(tokens + new).argmax()))
        if new[-1] == eos:
            break
    return new


def prompt_returned_too(next_logits, tokens, max_new_tokens, eos):
    """The prompt is in the result: return the new tokens only."""
    new = []
    while len(new) < max_new_tokens and eos not in new:
        new.append(int(next_logits(tokens + new).argmax()))
    return tokens + new


def question_never_changes(next_logits, tokens, max_new_tokens, eos):
    """The same question was asked every time: each new token must be part of what the model sees next."""
    new = []
    while len(new) < max_new_tokens and eos not in new:
        new.append(int(next_logits(tokens).argmax()))
    return new


def only_the_last_token_seen(next_logits, tokens, max_new_tokens, eos):
    """The model was shown the last token alone: without a cache it needs the whole sequence every time."""
    new = []
    while len(new) < max_new_tokens and eos not in new:
        new.append(int(next_logits((tokens + new)[-1:]).argmax()))
    return new


def eos_left_out(next_logits, tokens, max_new_tokens, eos):
    """The end-of-sequence token is missing: it is chosen like any other, and it is the last."""
    new = []
    while len(new) < max_new_tokens:
        token = int(next_logits(tokens + new).argmax())
        if token == eos:
            break
        new.append(token)
    return new


def eos_ignored(next_logits, tokens, max_new_tokens, eos):
    """It went on after the end-of-sequence token: what follows is not part of the answer."""
    new = []
    while len(new) < max_new_tokens:
        new.append(int(next_logits(tokens + new).argmax()))
    return new
