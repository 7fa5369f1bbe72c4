"""TextStream: decode tokens as they come, and stop at stop strings.

A token can end in the middle of a UTF-8 character, and a stop string can be split over tokens. So `push` returns only
text that can no longer change. With the stop string "END":

    token           returned   pending text
    "one E"         "one "     "E"           which can be the beginning of "END"
    "n"             "En"       ""
    bytes F0 9F     ""         ""            half of an emoji: decoded again with the next token
    bytes 98 80     "😀"       ""

What can change depends on the tokenizer. Byte-level tokenizers decode all bytes together: only an unfinished last
character, shown as U+FFFD, can change. Others have a token for each byte, such as <0xF0>, for text that no token
covers. A row of such tokens is decoded together, and if it is not valid UTF-8, each of its bytes becomes U+FFFD. So
their text is returned when another token ends the row.

Each push decodes a window of a few tokens, not the whole sequence:

    ids   ... | returned already | new tokens |
              ^ window_start     ^ window_end

The window begins before the new tokens, since some decoders drop the space of a text's first word. Special tokens have
no text, and the decoder does not see them: they are left out of `ids`.
"""

from collections.abc import Sequence
from itertools import takewhile

from minillm.support.checks import shown
from minillm.text.tokenizer import Tokenizer


class TextStream:
    """The text of one request, decoded token by token.

    Attributes:
        text: all text returned so far.
        stopped: whether a stop string was found. If so, no more text is returned.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), prompt: Sequence[int] = ()) -> None:
        """Begin with no token of the answer.

        Args:
            tokenizer: decodes the tokens.
            stop: texts that end the stream, none of them empty. One that is a special token ends it at that token.
            prompt: the tokens before the answer. Their text is not returned, but some decoders need them: they drop
                the space of a first word.

        Raises:
            ValueError: a stop text is a special token with other text around it.
        """
        self.tokenizer = tokenizer
        self.stop = tuple(stop)
        self.stop_tokens = {token for token in (_special_token(tokenizer, text) for text in stop) if token is not None}
        self.ids = [token for token in prompt if tokenizer.has_text(token)]
        self.window_start = self.window_end = 0
        self.returned = 0  # characters of the window's text: those returned already, and the prompt's
        self.prompt_end = self._decode(final=False)[1]  # the end of the prompt's text, if the answer can change it
        self.pending = ""  # decoded, and possibly the beginning of a stop string
        self.text = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Add one token; return the text that can no longer change, which is often empty."""
        if token in self.stop_tokens:
            text = self.finish()
            self.stopped = True
            return text
        if self.tokenizer.has_text(token):
            self.ids.append(token)
        return self._release(*self._decode(final=False), final=False)

    def finish(self) -> str:
        """Return the pending text: no more tokens come."""
        return self._release(*self._decode(final=True), final=True)

    def _decode(self, final: bool) -> tuple[str, str]:
        """Return the new text, as far as it is certain, and the text after it, which the next tokens can change."""
        now = self.tokenizer.decode(self.ids[self.window_start :])
        certain = len(now)
        if not final and self.ids and self.tokenizer.is_byte(self.ids[-1]):
            certain = self.returned
        elif not final and now.endswith("\ufffd"):
            certain -= 1
        new, uncertain = now[self.returned : certain], now[max(certain, self.returned) :]
        self.returned = max(certain, self.returned)
        if not uncertain:
            self._move_window()
        return new, uncertain

    def _move_window(self) -> None:
        """Let the window begin at the last tokens, if they have a text: then the space of a first word is in it."""
        last = self.tokenizer.decode(self.ids[self.window_end :])
        if last:
            self.window_start, self.window_end, self.returned = self.window_end, len(self.ids), len(last)

    def _release(self, new: str, uncertain: str, final: bool) -> str:
        if self.stopped:
            return ""
        self.pending += self._after_prompt(new)
        self.prompt_end = "" if new else self.prompt_end
        whole = self.pending + ("" if "\ufffd" in uncertain else self._after_prompt(uncertain))
        found = [index for index in (whole.find(stop) for stop in self.stop) if index >= 0]
        if found:
            self.stopped = True
            certain, self.pending = whole[: min(found)], ""
        else:
            end = len(self.pending) - (0 if final else self._possible_stop())
            certain, self.pending = self.pending[:end], self.pending[end:]
        self.text += certain
        return certain

    def _after_prompt(self, text: str) -> str:
        """Return the text after what it has in common with the end of the prompt's text."""
        pairs = zip(self.prompt_end, text, strict=False)
        return text[sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) :]

    def _possible_stop(self) -> int:
        """Return how many last characters of the pending text could begin a stop string."""
        longest = max((len(stop) for stop in self.stop), default=1) - 1
        for length in range(min(longest, len(self.pending)), 0, -1):
            if any(stop.startswith(self.pending[-length:]) for stop in self.stop):
                return length
        return 0


def _special_token(tokenizer: Tokenizer, stop: str) -> int | None:
    """Return the special token that this stop text is, or None if it is ordinary text.

    Raises:
        ValueError: it is ordinary text with a special token in it. No answer has both in its text.
    """
    if stop in tokenizer.special_tokens:
        return tokenizer.special_tokens[stop]
    for _, _, special in tokenizer.find_special(stop):
        raise ValueError(
            f"stop is {shown(stop)}; expected text without the special token {special}, or that token alone"
        )
    return None
