"""Limits on what a tokenizer.json can ask of the tokenizers library, which trusts the file.

Forty steps that each double a text make 2**40 bytes, a terabyte, of one letter. The table of a `Precompiled` step is
allocated with the length that it claims. If the memory is missing, the library ends the process instead of raising an
error. So the growth of texts is bounded here, before the library reads the file.
"""

import base64
import math
from typing import Any

from minillm.support.wording import counted

LARGEST_GROWTH = 100  # times the length of the text
MOST_STEPS = 100
MOST_ADDED = 4_000_000  # characters of all added tokens, once grown; the library needs 100 bytes for each
LONGEST_PATTERNS = 10_000  # characters of all regular expressions; `\p{L}` takes 20 kB, real files have a few hundred
LARGEST_TABLE = 1_000_000  # bytes of a Precompiled step; SentencePiece's own have 240,000
INNER = ("normalizers", "pretokenizers", "decoders", "processors")  # fields of a Sequence that list its steps
# Growth of the steps whose fields do not tell it. ByteLevel: a character has up to 4 bytes. BertNormalizer: 2 spaces
# around a Chinese character. Metaspace: a new "▁" before a word. BPEDecoder and CTC: if the suffix or delimiter is
# empty, its replacement comes between any two characters.
GROWTH = {"ByteLevel": 4, "BertNormalizer": 3, "Metaspace": 2, "BPEDecoder": 2, "CTC": 2}


def check_definition(definition: Any, source: str) -> None:
    """Raise ValueError if encoding or decoding could make a text more than LARGEST_GROWTH times as long."""
    if not isinstance(definition, dict):
        raise ValueError(f"{source}: not usable as a tokenizer: expected a JSON object")
    names = ("normalizer", "pre_tokenizer", "decoder", "post_processor")
    before, cut, out, around = (_steps(definition.get(name), source) for name in names)
    model = definition.get("model")
    into = [*before, *cut, *([model] if isinstance(model, dict) else [])]  # a model lengthens words by its affixes
    _check_sizes(into + out + around, source)
    growth = _check_growth(into, source)
    _check_growth(out, source)
    _check_growth(around, source)
    _check_added(definition.get("added_tokens"), growth, source)


def _steps(part: Any, source: str) -> list[dict[str, Any]]:
    """Return this step and all steps inside it. Each must name its type: otherwise the library guesses it."""
    found, waiting = [], [] if part is None else [part]
    while waiting:
        step = waiting.pop()
        if not isinstance(step, dict) or not isinstance(step.get("type"), str):
            raise ValueError(f"{source}: not usable as a tokenizer: expected each step to be an object with a type")
        found.append(step)
        waiting += [inner for name in INNER for inner in _list(step.get(name))]
    return found


def _check_sizes(steps: list[dict[str, Any]], source: str) -> None:
    """Raise ValueError unless all tables are sound and the regular expressions short enough."""
    if not all(_is_sound(step["precompiled_charsmap"]) for step in steps if "precompiled_charsmap" in step):
        raise ValueError(f"{source}: precompiled_charsmap: expected a table as long as it claims to be, at most 1 MB")
    patterns = [step["pattern"].get("Regex") for step in steps if isinstance(step.get("pattern"), dict)]
    if sum(map(_length, patterns)) > LONGEST_PATTERNS:
        raise ValueError(f"{source}: expected regular expressions of at most {LONGEST_PATTERNS} characters together")


def _check_growth(steps: list[dict[str, Any]], source: str) -> int:
    """Return the product of the growth of these steps, or raise ValueError if it is too large."""
    growth = math.prod(_growth(step) for step in steps[:MOST_STEPS])
    if len(steps) > MOST_STEPS or growth > LARGEST_GROWTH:
        shown = min(growth, 10**9)  # a product of 100 long contents is too large for a float
        raise ValueError(
            f"{source}: {counted(len(steps), 'step')} that can make a text {shown:.3g} times as long; "
            f"expected at most {MOST_STEPS} steps, {LARGEST_GROWTH} times as long"
        )
    return growth


def _growth(step: dict[str, Any]) -> int:
    """Return how many times as long this step makes a text at most.

    Fields of all types count, not only those of the type that it names. The library ignores fields that a type does
    not have, and for post-processors it can go by the fields alone.
    """
    kind = step.get("type")
    affixes = ("prepend", "continuing_subword_prefix", "end_of_word_suffix")  # of a normalizer, and of a BPE model
    return max(
        GROWTH.get(kind, 1) if isinstance(kind, str) else 1,
        1 + sum(_length(step.get(name)) for name in affixes),
        _replacement_growth(step.get("pattern"), step.get("content")),
        _template_growth(step),
        _table_growth(step),
    )


def _replacement_growth(pattern: Any, content: Any) -> int:
    """Return the growth of a replacement. A pattern that matches empty text inserts between any two characters."""
    fixed = pattern.get("String") if isinstance(pattern, dict) else pattern
    if not isinstance(fixed, str) or not fixed:
        return 1 + _length(content)
    return math.ceil(_length(content) / len(fixed))


def _template_growth(step: dict[str, Any]) -> int:
    """Return the growth of a post-processor's template: entries, times the most ids of a special token."""
    special = step.get("special_tokens")
    parts = special.values() if isinstance(special, dict) else ()
    fields = [field for part in parts for field in (part.values() if isinstance(part, dict) else _list(part))]
    longest = max((len(_list(field)) for field in fields), default=1)
    return max(1, longest) * max(1, len(_list(step.get("single"))), len(_list(step.get("pair"))))


def _table_growth(step: dict[str, Any]) -> int:
    """Return the length of the longest replacement in SentencePiece's table, where a zero byte ends each."""
    table = base64.b64decode(step.get("precompiled_charsmap", ""))
    texts = table[4 + int.from_bytes(table[:4], "little") :].split(b"\0")
    return max(len(text.decode("utf-8", "replace")) for text in texts)


def _check_added(added: Any, growth: int, source: str) -> None:
    """Raise ValueError if the added tokens have too many characters, once the steps have lengthened them."""
    contents = (token.get("content") for token in _list(added) if isinstance(token, dict))
    if sum(map(_length, contents)) * growth > MOST_ADDED:
        raise ValueError(f"{source}: added_tokens: expected at most {MOST_ADDED // growth} characters together")


def _length(text: Any) -> int:
    """Return 0 for a value that is not text: the library refuses it with an error of its own."""
    return len(text) if isinstance(text, str) else 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_sound(table: Any) -> bool:
    """Return whether this is SentencePiece's table: four bytes with the length of a trie, then at least the trie."""
    try:
        data = base64.b64decode(table)
    except (ValueError, TypeError):
        return False
    return 4 <= len(data) <= LARGEST_TABLE and int.from_bytes(data[:4], "little") <= len(data) - 4
