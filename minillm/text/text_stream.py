"""TextStream: decode tokens as they come, and stop at stop strings.

A token can end in the middle of a UTF-8 character, and a stop string can be split over tokens. So `push` returns only
text that can no longer change. With the stop string "END":

    token           returned   pending text
    "one E"         "one "     "E"           which can be the beginning of "END"
    "n"             "En"       ""
    bytes F0 9F     ""         ""            half of an emoji: decoded again with the next token
    bytes 98 80     "😀"       ""

Each push decodes a window of a few tokens, not the whole sequence:

    ids   ... | decoded before, text `before` | new tokens |
              ^ window_start                  ^ decoded_end

The window begins before the new tokens, since some decoders drop the space of a text's first word. The new text is
that of the whole window without `before`.
"""

from collections.abc import Sequence

from minillm.text.tokenizer import Tokenizer

MAX_UNFINISHED = 16  # tokens without a complete character, which has at most 4 bytes: more are not valid UTF-8


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
            stop: texts that end the stream, none of them empty.
            prompt: the tokens before the answer. Their text is not returned, but some decoders need them: they drop
                the space of a first word.
        """
        self.tokenizer = tokenizer
        self.stop = tuple(stop)
        self.ids = list(prompt)
        self.window_start = 0
        self.decoded_end = len(self.ids)  # ids[:decoded_end] are decoded already
        self.pending = ""  # decoded, and possibly the beginning of a stop string
        self.text = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Add one token; return the text that can no longer change, which is often empty."""
        self.ids.append(token)
        decoded = self._decode(final=False)
        return self._release(decoded, final=False)

    def finish(self) -> str:
        """Return the pending text: no more tokens come."""
        return self._release(self._decode(final=True), final=True)

    def _decode(self, final: bool) -> str:
        before = self.tokenizer.decode(self.ids[self.window_start : self.decoded_end], skip_special_tokens=True)
        now = self.tokenizer.decode(self.ids[self.window_start :], skip_special_tokens=True)
        unfinished = now.endswith("\ufffd") and len(self.ids) - self.decoded_end < MAX_UNFINISHED
        if len(now) <= len(before) or (unfinished and not final):
            return ""
        self.window_start, self.decoded_end = self.decoded_end, len(self.ids)
        return now[len(before) :]

    def _release(self, decoded: str, final: bool) -> str:
        if self.stopped:
            return ""
        self.pending += decoded
        found = [index for index in (self.pending.find(stop) for stop in self.stop) if index >= 0]
        if found:
            self.stopped = True
            certain, self.pending = self.pending[: min(found)], ""
        else:
            end = len(self.pending) - (0 if final else self._possible_stop())
            certain, self.pending = self.pending[:end], self.pending[end:]
        self.text += certain
        return certain

    def _possible_stop(self) -> int:
        """Return how many last characters of the pending text could begin a stop string."""
        longest = max((len(stop) for stop in self.stop), default=1) - 1
        for length in range(min(longest, len(self.pending)), 0, -1):
            if any(stop.startswith(self.pending[-length:]) for stop in self.stop):
                return length
        return 0
