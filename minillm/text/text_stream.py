"""TextStream: tokens become text, a piece at a time, and stop strings are found.

A token may be a part of a UTF-8 character, and a stop string may be split over tokens, so text is given out only when
it is certain: decoded text that ends in the replacement character is held until the character is whole, and text that
could be the beginning of a stop string is held until it is not. Each push decodes a window of a few tokens, not the
whole sequence: from `window_start`, where a token before the unfinished ones begins (some decoders look at the token
before), and what the window gave without the new token is cut off.
"""

from collections.abc import Sequence

from minillm.text.tokenizer import Tokenizer

MAX_PENDING = 16  # tokens; a character has at most 4 bytes, so a longer hold means bytes that are no text


class TextStream:
    """The text of one request.

    Attributes:
        text: everything given out so far.
        stopped: whether a stop string was found; nothing comes after it.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), prompt: Sequence[int] = ()) -> None:
        """No token yet.

        Args:
            tokenizer: turns tokens into text.
            stop: texts that end the stream, none of them empty.
            prompt: the tokens before, which are not given out; some decoders drop the space of a first word.
        """
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self.ids = list(prompt)
        self.window_start, self.read = 0, len(self.ids)  # ids[window_start:read] give text that was decoded before
        self.pending = ""  # decoded, and perhaps the beginning of a stop string
        self.text, self.stopped = "", False

    def push(self, token: int) -> str:
        """Take one token; return the text that is now certain."""
        self.ids.append(token)
        decoded = self._decode(final=False)
        return self._release(decoded, final=False)

    def finish(self) -> str:
        """No more tokens: return what was held."""
        return self._release(self._decode(final=True), final=True)

    def _decode(self, final: bool) -> str:
        before = self.tokenizer.decode(self.ids[self.window_start : self.read], skip_special_tokens=True)
        now = self.tokenizer.decode(self.ids[self.window_start :], skip_special_tokens=True)
        unfinished = now.endswith("\ufffd") and len(self.ids) - self.read < MAX_PENDING
        if len(now) <= len(before) or (unfinished and not final):
            return ""
        self.window_start, self.read = self.read, len(self.ids)
        return now[len(before) :]

    def _release(self, decoded: str, final: bool) -> str:
        if self.stopped:
            return ""
        self.pending += decoded
        found = [place for place in (self.pending.find(stop) for stop in self.stop) if place >= 0]
        if found:
            self.stopped, certain, self.pending = True, self.pending[: min(found)], ""
        else:
            keep = 0 if final else self._possible_stop()
            certain, self.pending = self.pending[: len(self.pending) - keep], self.pending[len(self.pending) - keep :]
        self.text += certain
        return certain

    def _possible_stop(self) -> int:
        """How many last characters held are the beginning of a stop string."""
        longest = max((len(stop) for stop in self.stop), default=1) - 1
        for length in range(min(longest, len(self.pending)), 0, -1):
            if any(stop.startswith(self.pending[-length:]) for stop in self.stop):
                return length
        return 0
