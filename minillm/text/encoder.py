"""Encoder: text to ids, where some special tokens in the text count and others are ordinary text.

The library makes special tokens of all that look like them, or of none. In a chat those of the template count, and
those that a message spells do not. Still the text must be encoded as a whole: many tokenizers treat the beginning of
a text, or what follows a special token, in their own way. So the special tokens that count get stand-ins, which are
added tokens too, and the special tokens themselves are switched off. With "o" and "a" for the letters of stand-ins:

    text              <|im_start|>user <|im_end|> is what?<|im_end|>      the first <|im_end|> belongs to a message
    with stand-ins    oaouser <|im_end|> is what?oaao
"""

import json
import secrets
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

Span = tuple[int, int, str]  # where a special token is in a text: begin, end, and its content. It can include spaces
SPACE = "\u1680"  # rare enough that no special token contains it
LETTERS = range(0xA000, 0xA48D)  # without upper case, accents or other forms: normalizers keep them
JOINERS = (0x200C, 0x200D)  # the library counts them as parts of words
SIGNS = range(0x2800, 0x2900)  # neither letters nor spaces; kept too


class Blanks(dict[int, str]):
    """For `str.translate`: each character to one of its kind that no added token contains.

    Attributes:
        letter, inner: two letters, as far as the library's rule for `single_word` goes.
        sign: neither a letter nor a space.
    """

    def __init__(self, used: Iterable[str]) -> None:
        """Choose the characters. The kinds of others are found when they are asked for."""
        taken = set(used)
        letters, signs = ([chr(code) for code in kind if chr(code) not in taken] for kind in (LETTERS, SIGNS))
        if len(letters) < 2 or not signs:
            raise ValueError("its added tokens contain all letters of Yi or all signs of Braille; expected two free")
        self.letter, self.inner, self.sign = letters[0], letters[1], signs[0]

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        letter = kind[0] in "LM" or kind in ("Nd", "Nl", "Pc") or code in JOINERS
        self[code] = SPACE if chr(code).isspace() else self.letter if letter else self.sign
        return self[code]


class Encoder:
    """Encodes with a library tokenizer, whose settings change for each text.

    A copy of it takes seconds for many added tokens. So a copy has only those that can be in the text.
    """

    def __init__(self, library: Any) -> None:
        """Prepare. `library` is a `tokenizers.Tokenizer`; between two calls it is as it was."""
        self._library = library
        added = library.get_added_tokens_decoder()
        self._added = {added[number]: number for number in sorted(added)}
        self._special = {token.content: token for token in self._added if token.special}
        self._special_by_id = {self._added[token]: content for content, token in self._special.items()}
        self._model = _without_texts(library, self._special)
        self._blanks = Blanks(character for token in self._added for character in token.content)

    def find(self, text: str) -> list[Span]:
        """Return the special tokens that the library sees in this text."""
        from tokenizers.models import BPE

        with self._with(model=BPE(), pre_tokenizer=None, post_processor=None):  # gives added tokens alone
            found = self._library.encode(text, add_special_tokens=False)
        spans = zip(found.offsets, found.ids, strict=True)
        special = self._special_by_id
        return [(begin, end, special[token]) for (begin, end), token in spans if token in special]

    def blank(self, text: str) -> str:
        """Return as many letters, spaces and signs in the same order, which are part of no special token."""
        return text.translate(self._blanks)

    def encode_spans(self, text: str, spans: Sequence[Span]) -> list[int]:
        """Return the ids of a text in which only these special tokens count.

        Raises:
            ValueError: the normalizer changes stand-ins.
        """
        if not spans or list(spans) == self.find(text):
            with self._with(model=self._model, post_processor=None, encode_special_tokens=not spans):
                return _ids(self._library, text)
        names = self._stand_ins(text, {token for *_, token in spans})
        added = [token for token in self._added if self._can_be_in(text, token)]
        copy = self._copy([*added, *names.values()])
        ids = _ids(copy, _replaced(text, spans, names))
        numbers = {copy.token_to_id(name.content): token for token, name in names.items()}
        if [numbers[token] for token in ids if token in numbers] != [token for *_, token in spans]:
            raise ValueError("the normalizer changes unknown letters; leave the special tokens out of the message")
        ours = {copy.token_to_id(token.content): self._added[token] for token in added}
        ours |= {number: self._added[self._special[token]] for number, token in numbers.items()}
        return [ours.get(token, token) for token in ids]

    @contextmanager
    def _with(self, **settings: Any) -> Iterator[None]:
        """Give the library tokenizer these settings for a while."""
        before = {name: getattr(self._library, name) for name in settings}
        try:
            for name, value in settings.items():
                setattr(self._library, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self._library, name, value)

    def _can_be_in(self, text: str, token: Any) -> bool:
        """Return whether the library can find an added token in this text, which a normalizer may change first."""
        return token.content in text or (token.normalized and self._library.normalizer is not None)

    def _copy(self, added: Iterable[Any]) -> Any:
        """Return a library tokenizer with the same steps and other added tokens, in which special ones are text."""
        from tokenizers import Tokenizer

        copy = Tokenizer(self._model)
        if self._library.normalizer is not None:
            copy.normalizer = self._library.normalizer
        if self._library.pre_tokenizer is not None:
            copy.pre_tokenizer = self._library.pre_tokenizer
        copy.add_tokens(list(added))  # the library numbers them itself
        copy.encode_special_tokens = True
        return copy

    def _stand_ins(self, text: str, tokens: Iterable[str]) -> dict[str, Any]:
        """Return an added token for each of these special tokens, of the same kind, that the text does not contain."""
        from tokenizers import AddedToken

        letter, sign, inner = self._blanks.letter, self._blanks.sign, self._blanks.inner
        run = next(n for n in count(1) if letter * n not in text and sign * n not in text)
        return {
            token: AddedToken(
                self.blank(token[0]) * run + inner * number + self.blank(token[-1]) * run,
                lstrip=self._special[token].lstrip,
                rstrip=self._special[token].rstrip,
                normalized=self._special[token].normalized,
                special=False,
            )
            for number, token in enumerate(sorted(tokens), 1)
        }


def _replaced(text: str, spans: Sequence[Span], names: dict[str, Any]) -> str:
    """Return the text with stand-ins. Spaces that a token takes stay, so that its stand-in can take them."""
    parts, end = [], 0
    for begin, after, token in spans:
        found, name = text[begin:after], names[token].content
        parts += [text[end:begin], found.replace(token, name, 1) if token in found else name]
        end = after
    return "".join([*parts, text[end:]])


def _ids(tokenizer: Any, text: str) -> list[int]:
    # Without offsets, which take half of the time and memory.
    return list(tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids)


def _without_texts(library: Any, special: Iterable[str]) -> Any:
    """Return the model, or a copy that makes none of these tokens from a text that spells them.

    Most models make none: no merges lead to them. But a Unigram or a WordPiece model takes any token that it has. So
    their texts get a beginning that no one can guess, and keep their ids. Tokens that spell other texts stay as they
    are: single characters, which would vanish, and steps of merges.
    """
    model = library.model
    stored = [text for text in special if model.token_to_id(text) is not None and _can_be_spelled(library, text)]
    reached = {text for text in stored if model.token_to_id(text) in [token.id for token in model.tokenize(text)]}
    if not reached:
        return model
    values = json.loads(model.__getstate__())
    needed = {part for pair in values.get("merges", ()) for part in pair}
    names = {text: secrets.token_hex(16) + text for text in reached - needed if not _is_character(text, values)}
    return _renamed(values, names) if names else model


def _can_be_spelled(library: Any, text: str) -> bool:
    """Return whether a model can get this text: a byte-level tokenizer writes a space, for example, as "Ġ"."""
    cutter = library.pre_tokenizer
    return cutter is None or text in "".join(piece for piece, _ in cutter.pre_tokenize_str(text))


def _is_character(text: str, model: dict[str, Any]) -> bool:
    """Return whether this is the token of one character, at the beginning of a word or within it."""
    return len(text) == 1 or len(text.removeprefix(model.get("continuing_subword_prefix") or "")) == 1


def _renamed(values: dict[str, Any], names: dict[str, str]) -> Any:
    """Return a model of these values with other texts for some tokens, and without the merges that concern them."""
    from tokenizers import Tokenizer

    pairs = values["vocab"].items() if isinstance(values["vocab"], dict) else values["vocab"]
    values["vocab"] = type(values["vocab"])([names.get(text, text), value] for text, value in pairs)
    for name in {"unk_token"} & values.keys():
        values[name] = names.get(values[name], values[name])
    for name in {"merges"} & values.keys():
        values[name] = [pair for pair in values[name] if not {*pair, "".join(pair)} & names.keys()]
    return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": values})).model
