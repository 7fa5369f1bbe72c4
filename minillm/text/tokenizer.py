"""Tokenizer: text to token ids and back, by the `tokenizers` library.

`encode` treats special tokens as ordinary text: a user who types `<|im_end|>` gets the tokens of these ten characters,
never the special token. Special tokens come only from a chat template's own text (`chat_template.py`) and from the BOS
of a raw prompt.

    >>> tokenizer = minillm.load("story").tokenizer
    >>> tokenizer.decode(tokenizer.encode("The sky is"))
    'The sky is'
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from minillm.support.checks import check_bool, check_integer
from minillm.support.files import parse_json
from minillm.text.special_tokens import SpecialTokens
from minillm.text.tokenizer_check import check_definition

Result = TypeVar("Result")
SILENCE = threading.RLock()  # stderr belongs to the whole process


class Tokenizer:
    """A tokenizer.json with the settings of its folder.

    Attributes:
        special_tokens: the id of each special token, by its text.
        chat_template: jinja2 source; None if there is none or if it is empty.
        named_tokens: the text of each token with a name, such as "bos_token", for templates.
        ends: the texts of the tokens that the tokenizer's own files name as ends of an answer.
        not_appended: the ids that the definition puts after a text. They are left out, since a prompt continues.
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
        """
        tokens = tokens or SpecialTokens()
        check_definition(_with_more(parse_json(definition, source), tokens), source)
        self.chat_template, self.named_tokens, self.ends = chat_template or None, dict(tokens.named), tuple(tokens.ends)
        with _quiet():
            self._with_special = _guard(lambda: _parse(definition, tokens, control_ids), source)
            self._as_text = _without_special(self._with_special)
            added = self._with_special.get_added_tokens_decoder()
            self.special_tokens = {token.content: number for number, token in added.items() if token.special}
            self._special_ids = frozenset(self.special_tokens.values())
            self.vocab_size = int(self._with_special.get_vocab_size(with_added_tokens=True))
            before, self.not_appended = self._around_a_text(source)
        bos = self.token_id(self.named_tokens.get("bos_token", ""))
        self._bos = before or ([bos] if add_bos and bos is not None else [])

    def __repr__(self) -> str:
        template = "no chat template" if self.chat_template is None else "a chat template"
        return f"Tokenizer({self.vocab_size} tokens, {len(self.special_tokens)} of them special, {template})"

    @property
    def adds_space(self) -> bool:
        """Whether a text gets a space before its first word, as the library stores spaces."""
        tokens = self._with_special.encode("a", add_special_tokens=False).tokens
        return bool(tokens) and tokens[0].startswith(("Ġ", "▁"))

    @property
    def vocabulary(self) -> dict[str, int]:
        """Return the id of every token, by its text as the library stores it ("Ġsky" for " sky")."""
        return dict(self._with_special.get_vocab())

    def token_id(self, text: str) -> int | None:
        """Return the id of the special token with this text, or of the token stored as it, or None."""
        number: int | None = self.special_tokens.get(text, self._with_special.token_to_id(text))
        return number

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`. No BOS is added, and special tokens in the text are ordinary text.

        Raises:
            ValueError: `text` is not of type str, or contains half a surrogate pair, which UTF-8 cannot encode.
        """
        return self._encode(self._as_text, text)

    def encode_with_special(self, text: str) -> list[int]:
        """Return the token ids of text that a template wrote: special tokens in it become their ids."""
        return self._encode(self._with_special, text)

    def encode_prompt(self, text: str) -> list[int]:
        """Return the token ids of a raw prompt: the tokenizer's own BOS, if it has one, then the text."""
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
        if skip_special_tokens:  # the library keeps those that its normalizer would change
            checked = [token for token in checked if token not in self._special_ids]
        return str(_guard(lambda: self._with_special.decode(checked, skip_special_tokens=False), "tokenizer.json"))

    def token_text(self, token: int) -> str:
        """Return the text of one token, for displays."""
        return self.decode([token])

    def apply_chat_template(self, messages: list[dict[str, str]]) -> list[int]:
        """Return the token ids of a conversation, up to where the assistant's answer begins.

        Raises:
            ValueError: there is no template, it fails, or the messages are not {"role": ..., "content": ...}.
        """
        from minillm.text.chat_template import encode_chat

        return encode_chat(self, messages)

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which transformers can read too."""
        settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": self.chat_template}
        settings |= self.named_tokens
        settings["add_bos_token"] = bool(self._bos) or None
        kept = {name: value for name, value in settings.items() if value is not None}
        (folder / "tokenizer.json").write_text(self._with_special.to_str(), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")

    def _encode(self, tokenizer: Any, text: str) -> list[int]:
        if not isinstance(text, str):
            raise ValueError(f"text is of type {type(text).__name__}; expected str")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("the text contains half a surrogate pair, which UTF-8 cannot encode; remove it") from None
        return list(_guard(lambda: tokenizer.encode(text, add_special_tokens=False), "tokenizer.json").ids)

    def _around_a_text(self, source: str) -> tuple[list[int], list[int]]:
        """Return the ids that the definition puts before a text and after it."""
        encode = self._with_special.encode
        text = _guard(lambda: encode("a", add_special_tokens=False), source).ids
        whole = _guard(lambda: encode("a", add_special_tokens=True), source).ids
        before = next((n for n in range(len(whole)) if whole[n : n + len(text)] == text), 0)
        return list(whole[:before]), list(whole[before + len(text) :])


def _with_more(definition: Any, tokens: SpecialTokens) -> Any:
    """Return a definition with all tokens that will be added, to be checked."""
    if not isinstance(definition, dict) or not isinstance(definition.get("added_tokens"), list | None):
        return definition
    return definition | {"added_tokens": [*(definition.get("added_tokens") or ()), *tokens.declared, *tokens.wanted]}


def _parse(definition: bytes, tokens: SpecialTokens, control_ids: Sequence[int]) -> Any:
    """Return the library's tokenizer with these tokens, `control_ids` special, without truncation and padding."""
    import tokenizers

    library = tokenizers.Tokenizer.from_buffer(definition)
    library.no_truncation()
    library.no_padding()
    tokens.add_to(library, control_ids)
    return library


def _without_special(library: Any) -> Any:
    """Return a tokenizer that treats special tokens as text. It shares the vocabulary: a copy takes 15 MB and 0.1 s."""
    import tokenizers

    view = tokenizers.Tokenizer(library.model)
    if library.normalizer is not None:
        view.normalizer = library.normalizer
    if library.pre_tokenizer is not None:
        view.pre_tokenizer = library.pre_tokenizer
    added = library.get_added_tokens_decoder()
    view.add_tokens([added[number] for number in sorted(added)])
    view.encode_special_tokens = True
    return view


def _guard(action: Callable[[], Result], source: str) -> Result:
    """Run a call into the library. Its errors, and its panics (BaseExceptions), become a ValueError of one line."""
    try:
        return action()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as problem:
        raise ValueError(f"{source}: not usable as a tokenizer: {' '.join(str(problem).split())[:160]}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Send the stderr of the whole process to /dev/null, only while a tokenizer is loaded.

    A panic of the library prints itself without Python's help, but a damaged tokenizer.json must give one line only.
    While encoding, such a panic is printed: silence would also swallow what other threads write.

    Only one thread at a time is quiet: a second one would save /dev/null as stderr and restore that. A fork waits too,
    so that the child gets the real stderr and a free lock.
    """
    with SILENCE:
        try:
            kept = os.dup(2)
        except OSError:  # closed
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


os.register_at_fork(before=SILENCE.acquire, after_in_parent=SILENCE.release, after_in_child=SILENCE.release)
