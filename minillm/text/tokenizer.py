"""Tokenizer: text to token ids and back, by the `tokenizers` library in a child process (`tokenizer_sandbox.py`).

`encode` treats special tokens as ordinary text: a user who types `<|im_end|>` gets the tokens of these ten characters,
never the special token. Special tokens come only from a chat template's own text (`chat_template.py`) and from the BOS
of a raw prompt.

    >>> tokenizer = minillm.load("story").tokenizer
    >>> tokenizer.decode(tokenizer.encode("The sky is"))
    'The sky is'
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minillm.support.checks import check_bool, check_integer, is_utf8
from minillm.support.wording import counted
from minillm.text.encoder import Span
from minillm.text.special_tokens import SpecialTokens
from minillm.text.tokenizer_sandbox import SandboxedTokenizer


class TextTooLong(ValueError):
    """A text has more tokens than the model's context."""


class Tokenizer:
    """A tokenizer.json with the settings of its folder.

    Attributes:
        special_tokens: the id of each special token, by its text.
        chat_template: jinja2 source; None if there is none or if it is empty.
        named_tokens: the text of each token with a name, such as "bos_token", for templates.
        ends: the texts of the tokens that the tokenizer's own files name as ends of an answer.
        not_appended: the ids that the definition puts after a text, and that are left out: a prompt continues.
        vocab_size: the number of tokens, added tokens included.
    """

    def __init__(
        self,
        definition: bytes,
        control_ids: Sequence[int] = (),
        chat_template: str | None = None,
        tokens: SpecialTokens | None = None,
        add_bos: bool = False,
        source: str = "tokenizer.json",
    ) -> None:
        """Build from the bytes of a tokenizer.json.

        Args:
            definition: the bytes.
            control_ids: added tokens with these ids are special even if the file says otherwise.
            chat_template: jinja2 source.
            tokens: names and further tokens, from other files.
            add_bos: put `bos_token` before raw prompts, if the definition itself adds no token there.
            source: name of the file, for messages.

        Raises:
            ValueError: the library cannot read the definition, or the definition asks for too much memory.
            OSError: the machine lets no child process run.
        """
        tokens = tokens or SpecialTokens()
        self.chat_template, self.named_tokens, self.ends = chat_template or None, dict(tokens.named), tuple(tokens.ends)
        self._library = SandboxedTokenizer(definition, tokens, control_ids, source)
        self.special_tokens = self._library.special
        self.vocab_size = len(self._library.vocabulary)
        bos = self.token_id(self.named_tokens.get("bos_token", ""))
        self._bos = self._library.before or ([bos] if add_bos and bos is not None else [])
        self.not_appended = self._library.after

    def __repr__(self) -> str:
        template = "no chat template" if self.chat_template is None else "a chat template"
        return f"Tokenizer({counted(self.vocab_size, 'token')}, {len(self.special_tokens)} of them special, {template})"

    @property
    def adds_space(self) -> bool:
        """Whether a text gets a space before its first word, as the library stores spaces."""
        return self._library.adds_space

    @property
    def vocabulary(self) -> dict[str, int]:
        """Return the id of every token, by its text as the library stores it ("Ġsky" for " sky")."""
        return dict(self._library.vocabulary)

    def token_id(self, text: str) -> int | None:
        """Return the id of the special token with this text, or of the token stored as it, or None."""
        return self.special_tokens.get(text, self._library.vocabulary.get(text))

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`. No BOS is added, and special tokens in the text are ordinary text.

        Raises:
            ValueError: `text` is not of type str, or contains half a surrogate pair, which UTF-8 cannot encode.
        """
        return self.encode_spans(text, [])

    def encode_with_special(self, text: str) -> list[int]:
        """Return the token ids of text that a template wrote: special tokens in it become their ids."""
        return self.encode_spans(text, self.find_special(text))

    def find_special(self, text: str) -> list[Span]:
        """Return where `text` spells special tokens: begin, end and the token."""
        return self._library.find(_checked(text))

    def blank(self, text: str) -> str:
        """Return a text of the same length, with the same letters, spaces and signs, but without special tokens."""
        return text.translate(self._library.blanks)

    def encode_spans(self, text: str, spans: Sequence[Span]) -> list[int]:
        """Return the token ids of a text in which only these special tokens count; others in it are ordinary text."""
        return self._library.encode(_checked(text), spans)

    def encode_prompt(self, text: str, most_tokens: int | None = None) -> list[int]:
        """Return the token ids of a raw prompt: the tokenizer's own BOS, if it has one, then the text.

        Raises:
            TextTooLong: the text certainly has more than `most_tokens` tokens. It is not encoded then.
        """
        self.check_length(text, most_tokens)
        return [*self._bos, *self.encode(text)]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Return the text of these ids. An id without a token has no text: vocabularies are often padded at the end.

        Raises:
            ValueError: `ids` is not a list of integers, or an id is outside 0 to 2**31 - 1.
        """
        check_bool("skip_special_tokens", skip_special_tokens)
        if not isinstance(ids, Sequence | np.ndarray):
            raise ValueError(f"ids is of type {type(ids).__name__}; expected a list of token ids")
        checked = [check_integer("a token id", token, 0, 2**31 - 1) for token in ids]
        return self._library.decode(checked, skip_special_tokens)

    def has_text(self, token: int) -> bool:
        """Return whether the decoder sees this token. It does not see special tokens, and ids without a token."""
        return token not in self._library.special_ids and token in self._library.tokens

    def is_byte(self, token: int) -> bool:
        """Return whether this token stands for one byte, such as <0xC3>, which is decoded with its neighbours."""
        text = self._library.tokens.get(token, "")
        return len(text) == 6 and text.startswith("<0x") and self.decode([token]) != text

    def token_text(self, token: int) -> str:
        """Return the text of one token, for displays."""
        return self.decode([token])

    def check_length(self, text: str, most_tokens: int | None) -> None:
        """Raise TextTooLong if the text certainly has more than `most_tokens` tokens. It is not encoded."""
        if most_tokens is not None and isinstance(text, str) and not self._library.bound.allows(text, most_tokens):
            raise TextTooLong(
                f"a text of {len(text)} characters has more tokens than the model's context of {most_tokens}"
            )

    def apply_chat_template(self, messages: Sequence[Any], most_tokens: int | None = None) -> list[int]:
        """Return the token ids of a conversation, up to where the assistant's answer begins, or goes on.

        Raises:
            TextTooLong: what the template makes of the messages certainly has more than `most_tokens` tokens. It is not
                encoded then.
            ValueError: there is no template, it fails, or the messages are not {"role": ..., "content": ...}.
        """
        from minillm.text.chat_template import encode_chat

        return encode_chat(self, messages, partial(self.check_length, most_tokens=most_tokens))

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which transformers can read too."""
        settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": self.chat_template}
        settings |= self.named_tokens
        settings["add_bos_token"] = bool(self._bos) or None
        kept = {name: value for name, value in settings.items() if value is not None}
        (folder / "tokenizer.json").write_text(self._library.to_json(), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")


def _checked(text: str) -> str:
    """Return `text`, or raise ValueError if it is not text that UTF-8 can encode."""
    if not isinstance(text, str):
        raise ValueError(f"text is of type {type(text).__name__}; expected str")
    if not is_utf8(text):
        raise ValueError("the text contains half a surrogate pair, which UTF-8 cannot encode; remove it")
    return text
