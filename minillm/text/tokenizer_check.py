"""What a tokenizer.json may ask of the tokenizers library, which takes it at its word.

A few dozen steps that each double a text would make terabytes of one letter, and the table of a `Precompiled` step is
allocated by the length that it claims. Memory that is asked for so is not an error there: the process ends.
"""

import base64
import math
from typing import Any

LARGEST_GROWTH, MOST_STEPS = 100, 100
MOST_ADDED = 4_000_000  # characters of all added tokens, once grown; the library takes a hundred bytes for each
LONGEST_PATTERNS = 10_000  # characters of all regular expressions; `\p{L}` takes 20 kB, real files have a few hundred
LARGEST_TABLE = 1_000_000  # bytes of a Precompiled step; SentencePiece's own have 240,000
INNER = ("normalizers", "pretokenizers", "decoders", "processors")  # what a step of type Sequence holds
# In characters, where the step's fields do not tell: a character has up to four bytes; a Chinese one gets two spaces;
# a piece may begin with a new "▁"; and what replaces a suffix or delimiter that is empty stands between all others.
GROWTH = {"ByteLevel": 4, "BertNormalizer": 3, "Metaspace": 2, "BPEDecoder": 2, "CTC": 2}


def check_definition(definition: Any, source: str) -> None:
    """Raise ValueError unless texts stay about as long as they are, on their way in and on their way out."""
    if not isinstance(definition, dict):
        raise ValueError(f"{source}: not usable as a tokenizer: expected a JSON object")
    names = ("normalizer", "pre_tokenizer", "decoder", "post_processor")
    before, cut, out, around = (_steps(definition.get(name), source) for name in names)
    model = definition.get("model")
    into = [*before, *cut, *([model] if isinstance(model, dict) else [])]  # a model can lengthen words too
    _check_sizes(into + out + around, source)
    growth = _check_growth(into, source)
    _check_growth(out, source)
    _check_growth(around, source)
    _check_added(definition.get("added_tokens"), growth, source)


def _steps(part: Any, source: str) -> list[dict[str, Any]]:
    """This step and all inside it. The library also guesses what a list is, or an object without a type."""
    found, waiting = [], [] if part is None else [part]
    while waiting:
        step = waiting.pop()
        if not isinstance(step, dict) or not isinstance(step.get("type"), str):
            raise ValueError(f"{source}: not usable as a tokenizer: expected each step to be an object with a type")
        found.append(step)
        waiting += [inner for name in INNER for inner in _list(step.get(name))]
    return found


def _check_sizes(steps: list[dict[str, Any]], source: str) -> None:
    """Raise ValueError unless all tables and regular expressions are sound and of ordinary size."""
    if not all(_is_sound(step["precompiled_charsmap"]) for step in steps if "precompiled_charsmap" in step):
        raise ValueError(f"{source}: precompiled_charsmap: expected a table as long as it claims to be, at most 1 MB")
    patterns = [step["pattern"].get("Regex") for step in steps if isinstance(step.get("pattern"), dict)]
    if sum(map(_length, patterns)) > LONGEST_PATTERNS:
        raise ValueError(f"{source}: expected regular expressions of at most {LONGEST_PATTERNS} characters together")


def _check_growth(steps: list[dict[str, Any]], source: str) -> int:
    """How many times as long all these steps make a text at most."""
    growth = math.prod(_growth(step) for step in steps[:MOST_STEPS])
    if len(steps) > MOST_STEPS or growth > LARGEST_GROWTH:
        shown = min(growth, 10**9)  # a hundred long contents multiply to more than a float holds
        raise ValueError(
            f"{source}: {len(steps)} steps that can make a text {shown:.3g} times as long; "
            f"expected at most {MOST_STEPS} steps, {LARGEST_GROWTH} times as long"
        )
    return growth


def _growth(step: dict[str, Any]) -> int:
    """How many times as long this step makes a text at most. Fields of all types count, whatever type it claims: the
    library skips those that a type does not have, and goes by the fields alone for what comes last."""
    kind = step.get("type")
    affixes = ("prepend", "continuing_subword_prefix", "end_of_word_suffix")  # a normalizer's, and those of BPE
    return max(
        GROWTH.get(kind, 1) if isinstance(kind, str) else 1,
        1 + sum(_length(step.get(name)) for name in affixes),
        _replacement_growth(step.get("pattern"), step.get("content")),
        _template_growth(step),
        _table_growth(step),
    )


def _replacement_growth(pattern: Any, content: Any) -> int:
    """A pattern that can match nothing matches between any two characters, which stay."""
    fixed = pattern.get("String") if isinstance(pattern, dict) else pattern
    if not isinstance(fixed, str) or not fixed:
        return 1 + _length(content)
    return math.ceil(_length(content) / len(fixed))


def _template_growth(step: dict[str, Any]) -> int:
    """A template names the text and special tokens, as often as it likes, and each of these stands for some ids."""
    special = step.get("special_tokens")
    parts = special.values() if isinstance(special, dict) else ()
    fields = [field for part in parts for field in (part.values() if isinstance(part, dict) else _list(part))]
    longest = max((len(_list(field)) for field in fields), default=1)
    return max(1, longest) * max(1, len(_list(step.get("single"))), len(_list(step.get("pair"))))


def _table_growth(step: dict[str, Any]) -> int:
    """The longest text that SentencePiece's table puts in the place of a character; a zero byte ends each."""
    table = base64.b64decode(step.get("precompiled_charsmap", ""))
    texts = table[4 + int.from_bytes(table[:4], "little") :].split(b"\0")
    return max(len(text.decode("utf-8", "replace")) for text in texts)


def _check_added(added: Any, growth: int, source: str) -> None:
    """Raise ValueError if the added tokens are too much text; the library looks for them in texts that have grown."""
    contents = (token.get("content") for token in _list(added) if isinstance(token, dict))
    if sum(map(_length, contents)) * growth > MOST_ADDED:
        raise ValueError(f"{source}: added_tokens: expected at most {MOST_ADDED // growth} characters together")


def _length(text: Any) -> int:
    """0 for what is no text: there the library has an error of its own."""
    return len(text) if isinstance(text, str) else 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_sound(table: Any) -> bool:
    """SentencePiece's normalization table: four bytes with the length of a trie, and at least as many bytes."""
    try:
        data = base64.b64decode(table)
    except (ValueError, TypeError):
        return False
    return 4 <= len(data) <= LARGEST_TABLE and int.from_bytes(data[:4], "little") <= len(data) - 4
