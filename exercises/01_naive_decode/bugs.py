"""Wrong answers to `naive_decode`."""


def prompt_counted(next_logits, tokens, max_new_tokens, eos):
    """The prompt was counted too: max_new_tokens limits the new tokens only, for a prompt of any length."""
    new = []
    for _ in range(len(tokens), max_new_tokens):
        new.append(int(next_logits(tokens + new).argmax()))
        if new[-1] == eos:
            break
    return new


def prompt_returned_too(next_logits, tokens, max_new_tokens, eos):
    """The result contains the prompt: return the new tokens only."""
    new = []
    while len(new) < max_new_tokens and eos not in new:
        new.append(int(next_logits(tokens + new).argmax()))
    return tokens + new


def new_token_not_appended(next_logits, tokens, max_new_tokens, eos):
    """The model got the same tokens in every step: append each new token to its next input."""
    new = []
    while len(new) < max_new_tokens and eos not in new:
        new.append(int(next_logits(tokens).argmax()))
    return new


def only_the_last_token_seen(next_logits, tokens, max_new_tokens, eos):
    """The model got the last token only: without a cache it needs the whole sequence in every step."""
    new = []
    while len(new) < max_new_tokens and eos not in new:
        new.append(int(next_logits((tokens + new)[-1:]).argmax()))
    return new


def eos_left_out(next_logits, tokens, max_new_tokens, eos):
    """The end-of-sequence token is missing: it is chosen like any other token, and it is the last one returned."""
    new = []
    while len(new) < max_new_tokens:
        token = int(next_logits(tokens + new).argmax())
        if token == eos:
            break
        new.append(token)
    return new


def eos_ignored(next_logits, tokens, max_new_tokens, eos):
    """It went on after the end-of-sequence token: later tokens are not part of the answer."""
    new = []
    while len(new) < max_new_tokens:
        new.append(int(next_logits(tokens + new).argmax()))
    return new


def eos_in_the_prompt_stops(next_logits, tokens, max_new_tokens, eos):
    """An end-of-sequence token in the prompt stopped it: only a new one ends the answer."""
    new = []
    while len(new) < max_new_tokens and eos not in tokens + new:
        new.append(int(next_logits(tokens + new).argmax()))
    return new
