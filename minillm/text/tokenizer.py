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

from minillm.support.checks import check_bool, check_integer
from minillm.support.files import read_json, read_ordinary_file
from minillm.text.tokenizer_sandbox import SandboxedTokenizer

LARGEST_TOKENIZER = 64_000_000  # bytes of tokenizer.json
LARGEST_TEMPLATE = 1_000_000  # bytes of chat_template.jinja


class TextTooLong(ValueError):
    """A text has more tokens than the model's context."""


class Tokenizer:
    """A tokenizer.json with the settings of its folder.

    Attributes:
        special_tokens: the id of each special token, by its text.
        chat_template: jinja2 source; None if there is none or if it is empty.
        bos_token, eos_token: their texts, for templates; empty if there is none.
        vocab_size: the number of tokens, added tokens included.
    """

    def __init__(
        self,
        definition: bytes,
        control_ids: Sequence[int] = (),
        chat_template: str | None = None,
        bos_token: str = "",
        eos_token: str = "",
        add_bos: bool = False,
        source: str = "tokenizer.json",
    ) -> None:
        """Build from the bytes of a tokenizer.json.

        Args:
            definition: the bytes.
            control_ids: added tokens with these ids are special even if the file says otherwise.
            chat_template: jinja2 source.
            bos_token: text of the token that begins a sequence.
            eos_token: text of the token that ends one.
            add_bos: put `bos_token` before raw prompts, if the definition itself adds no token there.
            source: name of the file, for messages.

        Raises:
            ValueError: the library cannot read the definition, or the definition asks for too much memory.
        """
        self.chat_template, self.bos_token, self.eos_token = chat_template or None, bos_token, eos_token
        self._library = SandboxedTokenizer(definition, control_ids, source)
        self.special_tokens = self._library.special
        self.vocab_size = len(self._library.vocabulary)
        asked = [self.special_tokens[bos_token]] if add_bos and bos_token in self.special_tokens else []
        self._bos = self._library.before or asked

    def __repr__(self) -> str:
        template = "no chat template" if self.chat_template is None else "a chat template"
        return f"Tokenizer({self.vocab_size} tokens, {len(self.special_tokens)} of them special, {template})"

    @classmethod
    def from_folder(cls, folder: Path, bos_id: int | None, eos_ids: Sequence[int]) -> "Tokenizer | None":
        """Return the tokenizer of a folder in Hugging Face layout, or None if it has no tokenizer.json.

        Raises:
            ValueError: a file is not in the format that its name says.
        """
        if not (folder / "tokenizer.json").exists():
            return None
        settings_file = folder / "tokenizer_config.json"
        settings = read_json(settings_file) if settings_file.exists() else {}
        if not isinstance(settings, dict):
            raise ValueError("tokenizer_config.json: expected a JSON object")
        return cls(
            read_ordinary_file(folder / "tokenizer.json", LARGEST_TOKENIZER),
            [*eos_ids, *([] if bos_id is None else [bos_id])],
            _find_template(folder, settings.get("chat_template")),
            _token_text(settings.get("bos_token")),
            _token_text(settings.get("eos_token")),
            settings.get("add_bos_token") is True,
        )

    @property
    def vocabulary(self) -> dict[str, int]:
        """Return the id of every token, by its text as the library stores it ("Ġsky" for " sky")."""
        return dict(self._library.vocabulary)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`. No BOS is added, and special tokens in the text are ordinary text.

        Raises:
            ValueError: `text` is not of type str, or contains half a surrogate pair, which UTF-8 cannot encode.
        """
        return self._encode(text, with_special=False)

    def encode_with_special(self, text: str) -> list[int]:
        """Return the token ids of text that a template wrote: special tokens in it become their ids."""
        return self._encode(text, with_special=True)

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

    def token_text(self, token: int) -> str:
        """Return the text of one token, for displays."""
        return self.decode([token])

    def check_length(self, text: str, most_tokens: int | None) -> None:
        """Raise TextTooLong if the text certainly has more than `most_tokens` tokens. It is not encoded."""
        if most_tokens is not None and isinstance(text, str) and not self._library.bound.allows(text, most_tokens):
            raise TextTooLong(
                f"a text of {len(text)} characters has more tokens than the model's context of {most_tokens}"
            )

    def apply_chat_template(self, messages: list[dict[str, str]], most_tokens: int | None = None) -> list[int]:
        """Return the token ids of a conversation, up to where the assistant's answer begins.

        Raises:
            TextTooLong: what the template makes certainly has more than `most_tokens` tokens. It is not encoded then.
            ValueError: there is no template, it fails, or the messages are not {"role": ..., "content": ...}.
        """
        from minillm.text.chat_template import encode_chat

        return encode_chat(self, messages, partial(self.check_length, most_tokens=most_tokens))

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which transformers can read too."""
        settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": self.chat_template}
        settings |= {"bos_token": self.bos_token or None, "eos_token": self.eos_token or None}
        settings["add_bos_token"] = bool(self._bos) or None
        kept = {name: value for name, value in settings.items() if value is not None}
        (folder / "tokenizer.json").write_text(self._library.to_json(), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")

    def _encode(self, text: str, with_special: bool) -> list[int]:
        if not isinstance(text, str):
            raise ValueError(f"text is of type {type(text).__name__}; expected str")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("the text contains half a surrogate pair, which UTF-8 cannot encode; remove it") from None
        return self._library.encode(text, with_special)


def _token_text(value: Any) -> str:
    """Return the text of a token in tokenizer_config.json: a string, or an object with `content`."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""


def _find_template(folder: Path, template: Any) -> str | None:
    """Return chat_template.jinja, or else `template` of tokenizer_config.json: a text, or the "default" of a list."""
    file = folder / "chat_template.jinja"
    if file.exists():
        try:
            return read_ordinary_file(file, LARGEST_TEMPLATE).decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("chat_template.jinja: expected UTF-8") from None
    if isinstance(template, list):
        named = [t.get("template") for t in template if isinstance(t, dict) and t.get("name") == "default"]
        template = named[0] if named else None
    return template if isinstance(template, str) else None
