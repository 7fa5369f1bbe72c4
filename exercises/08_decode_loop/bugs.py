"""Wrong answers to `decode_loop`."""


def last_token_fed_too(step, logits, max_new_tokens, eos):
    """The last token was passed to `step`: this is a whole forward pass for logits that are not used."""
    new = []
    while len(new) < max_new_tokens and eos not in new:
        new.append(int(logits.argmax()))
        logits = step(new[-1])
    return new


def first_token_lost(step, logits, max_new_tokens, eos):
    """The first token is missing in the result: it is the one chosen from prefill's logits."""
    token, new = int(logits.argmax()), []
    while len(new) < max_new_tokens and token != eos:
        token = int(step(token).argmax())
        new.append(token)
    return new


def one_too_many(step, logits, max_new_tokens, eos):
    """There is one token too many: the token chosen from prefill's logits counts, too."""
    new = [int(logits.argmax())]
    while len(new) <= max_new_tokens and new[-1] != eos:
        new.append(int(step(new[-1]).argmax()))
    return new


def eos_ignored(step, logits, max_new_tokens, eos):
    """It went on after the end-of-sequence token: this token is the last one."""
    new = [int(logits.argmax())]
    while len(new) < max_new_tokens:
        new.append(int(step(new[-1]).argmax()))
    return new


def all_tokens_fed_again(step, logits, max_new_tokens, eos):
    """Every step passed all new tokens again, although they were cached: each was cached many times."""
    new = [int(logits.argmax())]
    while len(new) < max_new_tokens and new[-1] != eos:
        for token in new:
            logits = step(token)
        new.append(int(logits.argmax()))
    return new


def first_token_fed_every_time(step, logits, max_new_tokens, eos):
    """Every step got the same token: pass the one that was just chosen."""
    new = [int(logits.argmax())]
    while len(new) < max_new_tokens and new[-1] != eos:
        new.append(int(step(new[0]).argmax()))
    return new
