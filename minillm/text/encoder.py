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
from collections.abc import Iterable, Sequence
from functools import cached_property
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
        self.letter, self.inner = [chr(code) for code in LETTERS if chr(code) not in taken][:2]
        self.sign = next(chr(code) for code in SIGNS if chr(code) not in taken)

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        letter = kind[0] in "LM" or kind in ("Nd", "Nl", "Pc") or code in JOINERS
        self[code] = SPACE if chr(code).isspace() else self.letter if letter else self.sign
        return self[code]


class View:
    """A library tokenizer that numbers added tokens as another one does."""

    def __init__(self, tokenizer: Any, numbers: dict[Any, int]) -> None:
        """Keep the tokenizer, and the ids that it must give to added tokens: the library numbers them itself."""
        self.tokenizer = tokenizer
        own = {tokenizer.token_to_id(token.content): number for token, number in numbers.items()}
        self.numbers = {ours: number for ours, number in own.items() if ours != number}

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`."""
        # Without offsets, which take half of the time and memory.
        ids = self.tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return [self.numbers.get(token, token) for token in ids] if self.numbers else list(ids)


class Encoder:
    """Encodes with a library tokenizer. Its views share the vocabulary: a copy takes 15 MB and 0.1 s."""

    def __init__(self, library: Any) -> None:
        """Build the views. `library` is a `tokenizers.Tokenizer`; it stays as it is."""
        self._library = library
        added = library.get_added_tokens_decoder()
        self._added = {added[number]: number for number in sorted(added)}
        self._special = {token.content: token for token in self._added if token.special}
        without = _without_texts(library.model, self._special)
        self._model = without or library.model
        self._with_special = View(self._copy(self._model, self._added) if without else library, self._added)
        self._as_text = self._text_view(self._added)
        self._blanks = Blanks(character for token in self._added for character in token.content)

    def find(self, text: str) -> list[Span]:
        """Return the special tokens that the library sees in this text."""
        finder, special = self._finder
        found = finder.encode(text, add_special_tokens=False)
        spans = zip(found.offsets, found.ids, strict=True)
        return [(begin, end, special[token]) for (begin, end), token in spans if token in special]

    def blank(self, text: str) -> str:
        """Return as many letters, spaces and signs in the same order, which are part of no special token."""
        return text.translate(self._blanks)

    def encode_spans(self, text: str, spans: Sequence[Span]) -> list[int]:
        """Return the ids of a text in which only these special tokens count.

        Raises:
            ValueError: the normalizer changes stand-ins.
        """
        if not spans:
            return self._as_text.encode(text)
        if list(spans) == self.find(text):
            return self._with_special.encode(text)
        names = self._stand_ins(text, {token for *_, token in spans})
        numbers = {name: self._added[self._special[token]] for token, name in names.items()}
        ids = self._text_view(self._added | numbers).encode(_replaced(text, spans, names))
        counted = set(numbers.values())
        if [token for token in ids if token in counted] != [numbers[names[token]] for *_, token in spans]:
            raise ValueError("the normalizer changes unknown letters; leave the special tokens out of the message")
        return ids

    @cached_property
    def _finder(self) -> tuple[Any, dict[int, str]]:
        """Return a tokenizer with an empty model, which gives added tokens alone, and the special ones of its ids."""
        from tokenizers.models import BPE

        finder = self._copy(BPE(), self._added)
        finder.pre_tokenizer = None
        return finder, {finder.token_to_id(text): text for text in self._special}

    def _text_view(self, numbers: dict[Any, int]) -> View:
        """Return a view with these added tokens, in which special tokens are text."""
        copy = self._copy(self._model, numbers)
        copy.encode_special_tokens = True
        return View(copy, numbers)

    def _copy(self, model: Any, added: Iterable[Any]) -> Any:
        """Return a library tokenizer with the steps of `library`, and another model and other added tokens."""
        from tokenizers import Tokenizer

        copy = Tokenizer(model)
        if self._library.normalizer is not None:
            copy.normalizer = self._library.normalizer
        if self._library.pre_tokenizer is not None:
            copy.pre_tokenizer = self._library.pre_tokenizer
        copy.add_tokens(list(added))
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


def _without_texts(model: Any, special: Iterable[str]) -> Any:
    """Return a model that makes none of these tokens from a text, or None if `model` makes none already.

    Most models make none: no merges lead to them. But a Unigram or a WordPiece model takes any token that it has. So
    their texts get a beginning that no one can guess, and keep their ids.
    """

    stored = [text for text in special if model.token_to_id(text) is not None]
    reached = {text for text in stored if model.token_to_id(text) in [token.id for token in model.tokenize(text)]}
    return _renamed(model, {text: secrets.token_hex(16) + text for text in reached}) if reached else None


def _renamed(model: Any, names: dict[str, str]) -> Any:
    """Return a copy of the model with other texts for some tokens, and without the merges that concern them."""
    from tokenizers import Tokenizer

    values = json.loads(model.__getstate__())
    pairs = values["vocab"].items() if isinstance(values["vocab"], dict) else values["vocab"]
    values["vocab"] = type(values["vocab"])([names.get(text, text), value] for text, value in pairs)
    for name in {"unk_token"} & values.keys():
        values[name] = names.get(values[name], values[name])
    for name in {"merges"} & values.keys():
        values[name] = [pair for pair in values[name] if not {*pair, "".join(pair)} & names.keys()]
    return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": values})).model
