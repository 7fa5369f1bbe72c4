"""Wrong answers to `token_mask`."""

import numpy as np


def _mask(texts, end, written, allowed, may_come, at_end=None):
    mask = np.array([bool(text) and any(may_come(target, text) for target in allowed) for text in texts])
    mask[end] = written in allowed if at_end is None else at_end
    return mask


def whole_answer_in_one_token(texts, end, written, allowed):
    """Only tokens that complete an allowed text were allowed: a token may also be a step on the way to it."""
    return _mask(texts, end, written, allowed, lambda target, text: target == written + text)


def anywhere_in_the_text(texts, end, written, allowed):
    """A token is allowed although it occurs later in the text: it has to follow what is written."""
    return _mask(texts, end, written, allowed, lambda target, text: target.startswith(written) and text in target)


def written_ignored(texts, end, written, allowed):
    """Each token was compared with the beginning of the allowed texts: it comes after what is written already."""
    return _mask(texts, end, written, allowed, lambda target, text: target.startswith(text))


def rest_of_any_text(texts, end, written, allowed):
    """The allowed texts were cut after len(written) characters, also those that begin with other characters."""
    return _mask(texts, end, written, allowed, lambda target, text: target[len(written) :].startswith(text))


def longer_than_the_text(texts, end, written, allowed):
    """A token that goes on after the end of an allowed text was allowed: then the answer is not an allowed text."""

    def may_come(target, text):
        return target.startswith(written + text) or (written + text).startswith(target)

    return _mask(texts, end, written, allowed, may_come)


def first_character_only(texts, end, written, allowed):
    """Only the first character of each token was compared: compare its whole text."""
    return _mask(texts, end, written, allowed, lambda target, text: target.startswith(written + text[0]))


def end_never_allowed(texts, end, written, allowed):
    """The end token is never allowed, so the answer cannot end: allow it if the answer is an allowed text."""
    return _mask(texts, end, written, allowed, lambda target, text: target.startswith(written + text), False)


def end_always_allowed(texts, end, written, allowed):
    """The end token is always allowed, so the answer may end too early: only if it is an allowed text."""
    return _mask(texts, end, written, allowed, lambda target, text: target.startswith(written + text), True)


def end_only_if_nothing_else(texts, end, written, allowed):
    """The end token was allowed only if no other token is: an allowed text may be the beginning of another one."""
    mask = _mask(texts, end, written, allowed, lambda target, text: target.startswith(written + text), False)
    mask[end] = not mask.any()
    return mask


def empty_texts_allowed(texts, end, written, allowed):
    """A token without a text was allowed: the answer would not grow, and could go on like this for ever."""
    mask = np.array([any(target.startswith(written + text) for target in allowed) for text in texts])
    mask[end] = written in allowed
    return mask


def first_text_only(texts, end, written, allowed):
    """Only the first allowed text was compared: any of them may be the answer."""
    return _mask(texts, end, written, allowed[:1], lambda target, text: target.startswith(written + text))
