"""The tokenizers library in a child process with limits (`child_process.py`, `tokenizer_process.py`).

Only decoding with plain steps runs in this process: text is decoded twice for each new token, and an answer of the
child takes 0.1 ms. Why it is done so, and what it costs: docs/decisions/tokenizer-process.md.
"""

import atexit
import base64
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minillm.support.file_kinds import LONGEST_KIND, seems
from minillm.support.wording import counted
from minillm.text.child_process import ChildProcess
from minillm.text.encoder import Blanks, Span
from minillm.text.special_tokens import SpecialTokens
from minillm.text.text_bound import text_bound

PROGRAM = Path(__file__).with_name("tokenizer_process.py")
MEMORY_BYTES = 1_000_000_000  # for one request; a file of 33 MB takes 600 MB
LONGEST_ANSWER = 400_000_000  # bytes
SECONDS = 10  # of processor time for one request, and more for large ones:
SECONDS_PER_MEGABYTE_READ = 1  # 0.1 s is usual, and 0.5 s if all of it are added tokens
SECONDS_PER_MEGABYTE = 10  # encoded; 0.5 to 3 s are usual
MOST_DECODED = 100_000_000  # bytes of tokens
MOST_STEPS = 10  # of a decoder in this process
PROCESS = ChildProcess(PROGRAM, ("tokenizers",), LONGEST_ANSWER)

atexit.register(PROCESS.close)
os.register_at_fork(after_in_child=PROCESS.begin_again_after_fork)


class SandboxedTokenizer:
    """A tokenizer.json that the child process has read.

    Attributes:
        vocabulary: the id of every token, by its text as the library stores it.
        tokens: the text of every id, as the decoder takes it.
        special, special_ids: the id of each special token, by its text, and these ids.
        blanks: see `encoder.py`.
        before, after: the ids that the definition puts before and after a text.
        adds_space: a text gets a space before its first word.
        bound: on the length of a text.
    """

    def __init__(self, definition: bytes, tokens: SpecialTokens, control_ids: Sequence[int], source: str) -> None:
        """Read a definition.

        Args:
            definition: the bytes of a tokenizer.json.
            tokens: further tokens, from other files.
            control_ids: added tokens with these ids are special even if the file says otherwise.
            source: name of the file, for messages.

        Raises:
            ValueError: the library cannot read the definition, or would need too much time or memory.
            NoProcess: the machine lets no child process run.
        """
        self._definition, self._source = definition, source
        self._more = {
            "declared": list(tokens.declared),
            "wanted": list(tokens.wanted),
            "ends": list(tokens.ends),
            "control_ids": [int(number) for number in control_ids],
        }
        more = json.dumps(self._more).encode()
        self._key, self._size = hashlib.sha256(definition + more).hexdigest(), len(definition) + len(more)
        facts = self._ask(self._reading())
        self.vocabulary: dict[str, int] = facts["vocabulary"]
        self.special: dict[str, int] = facts["special"]
        self.before: list[int] = facts["before"]
        self.after: list[int] = facts["after"]
        self.adds_space: bool = facts["adds_space"]
        self.bound = text_bound(facts)
        self.tokens = {number: text for text, number in self.vocabulary.items()}
        self.tokens |= {int(number): text for number, text in facts["decoded"].items()}
        self.special_ids = frozenset(self.special.values())
        self.blanks = Blanks("".join(facts["added"]))
        self._decoder = _plain_decoder(facts["decoder"])

    def find(self, text: str) -> list[Span]:
        """Return where a text spells special tokens."""
        return [(begin, end, token) for begin, end, token in self._ask({"find": text})["spans"]]

    def encode(self, text: str, spans: Sequence[Span]) -> list[int]:
        """Return the ids of a text in which only these special tokens count; others in it are ordinary text."""
        ids: list[int] = self._ask({"text": text, "spans": list(spans)})["ids"]
        return ids

    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """Return the text of these ids. An id without a token has no text."""
        skipped = self.special_ids if skip_special_tokens else ()
        known = [number for number in ids if number in self.tokens and number not in skipped]
        tokens = [self.tokens[number] for number in known]
        if sum(map(len, tokens)) > MOST_DECODED:
            raise ValueError(
                f"{counted(len(ids), 'id')}: expected tokens of at most {MOST_DECODED} characters together"
            )
        if self._decoder is not None:
            return str(self._decoder.decode(tokens))
        return str(self._ask({"ids": known})["text"])

    def to_json(self) -> str:
        """Return the definition as the library writes it."""
        return str(self._ask({})["definition"])

    def _reading(self) -> dict[str, Any]:
        return {"definition": base64.b64encode(self._definition).decode(), "more": self._more}

    def _ask(self, request: dict[str, Any]) -> Any:
        """Return the answer of the process. If it began again since, or had to make room, it reads the file again."""
        with PROCESS.lock:
            try:
                answer = self._ask_once(request)
                if "unknown" in answer:
                    self._ask_once(self._reading())
                    answer = self._ask_once(request)
                return answer
            except ValueError as problem:
                reason = " ".join(str(problem).split())[:160] + seems(self._definition[:LONGEST_KIND], "JSON text")
                raise ValueError(f"{self._source}: not usable as a tokenizer: {reason}") from None

    def _ask_once(self, request: dict[str, Any]) -> Any:
        size = 4 * len(request.get("text", request.get("find", ""))) + 100 * len(request.get("ids", ()))  # bytes
        seconds = SECONDS + SECONDS_PER_MEGABYTE * size // 10**6
        if "definition" in request or request.get("spans"):  # both can add all added tokens
            seconds += SECONDS_PER_MEGABYTE_READ * self._size // 10**6
        return PROCESS.ask(request | {"key": self._key}, seconds, MEMORY_BYTES)


def _plain_decoder(decoder: dict[str, Any] | None) -> Any:
    """Return the library's decoder if it takes little time and memory, else None.

    Its steps make a text not much longer and have no patterns. All decoders of byte-level BPE and of SentencePiece's
    BPE are of this kind.
    """
    import tokenizers

    if decoder is None or not _is_plain(decoder):
        return None
    model = {"type": "BPE", "vocab": {}, "merges": []}
    return tokenizers.Tokenizer.from_str(json.dumps({"model": model, "decoder": decoder})).decoder


def _is_plain(decoder: dict[str, Any]) -> bool:
    steps = decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
    return len(steps) <= MOST_STEPS and all(_is_plain_step(step) for step in steps)


def _is_plain_step(step: dict[str, Any]) -> bool:
    if step["type"] == "Replace":  # of a fixed text by one that is not longer
        fixed = step["pattern"].get("String", "")
        return 0 < len(fixed) and len(step["content"].encode()) <= len(fixed.encode())
    if step["type"] == "Strip":  # the library fails if it strips more at the end than there is
        return bool(step["stop"] == 0)
    return step["type"] in ("ByteLevel", "ByteFallback", "Fuse", "Metaspace")
