"""The program that reads a tokenizer.json and encodes texts, by the `tokenizers` library.

`child_script.py` runs it in a child process, since the library trusts the file: steps of a few letters each make a
terabyte of one letter, and a pattern can try 2**22 ways to cut each of them. Every request names a tokenizer by its
`key`. It is one of

    {"key": "a1", "definition": "...", "more": {...}}          read it: base64 of the file, and further tokens
    {"key": "a1", "find": "Hi<s>"}                             {"spans": [[2, 5, "<s>"]]}: the special tokens in it
    {"key": "a1", "text": "Hi<s>", "spans": []}                {"ids": [...]}, if only these special tokens count
    {"key": "a1", "ids": [5, 6]}                               {"text": "..."}
    {"key": "a1"}                                              {"definition": "..."} as the library writes it

and the answer to each is {"unknown": true} if the process has not read this tokenizer, or no longer has it.
"""

import base64
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one text gives threads nothing to share

import tokenizers
from tokenizers import AddedToken

if TYPE_CHECKING:
    from minillm.text.encoder import Encoder
else:
    from .encoder import Encoder  # from the folder of this file; importing minillm would take longer than the answer

MOST_KEPT = 4  # tokenizers; the one read first makes room
MOST_TOKENS = 2_000_000  # of a vocabulary; the largest that are published have 900,000


class Kept(NamedTuple):
    """A tokenizer that was read, and what encodes with it."""

    library: Any
    encoder: Encoder


kept: dict[str, Kept] = {}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer; see above.

    Raises:
        any exception, panics of the library included: the file is a stranger's.
    """
    if "more" in request:
        return read(request["key"], base64.b64decode(request["definition"]), request["more"])
    if request["key"] not in kept:
        return {"unknown": True}
    library, encoder = kept[request["key"]]
    if "find" in request:
        return {"spans": encoder.find(request["find"])}
    if "text" in request:
        return {"ids": encoder.encode_spans(request["text"], [(*span,) for span in request["spans"]])}
    if "ids" in request:
        return {"text": library.decode(request["ids"], skip_special_tokens=False)}
    return {"definition": library.to_str()}


def read(key: str, definition: bytes, more: dict[str, Any]) -> dict[str, Any]:
    """Read a tokenizer.json, and return what the parent needs to know of it."""
    library = parse(definition)
    add_tokens(library, **more)
    vocabulary = library.get_vocab(with_added_tokens=True)
    if len(vocabulary) > MOST_TOKENS:
        raise ValueError(f"the vocabulary has {len(vocabulary)}; expected at most {MOST_TOKENS} tokens")
    added = library.get_added_tokens_decoder()
    before, after = around_a_text(library)
    facts = {
        "vocabulary": vocabulary,
        "added": [token.content for token in added.values()],
        "decoded": {number: library.id_to_token(number) for number in added},  # normalized, if the token is
        "special": {token.content: number for number, token in added.items() if token.special},
        "decoder": described(library.decoder),
        "before": before,
        "after": after,
        "adds_space": adds_space(library),
        "normalizer": described(library.normalizer),
        "pre_tokenizer": described(library.pre_tokenizer),
        "model": described_model(library.model),
        "strips": any(token.lstrip or token.rstrip for token in added.values()),
        "longest_added": longest_added(library),
    }
    kept.pop(key, None)
    while len(kept) >= MOST_KEPT:
        del kept[next(iter(kept))]
    kept[key] = Kept(library, Encoder(library))
    return facts


def described(step: Any) -> Any:
    """Return a step as tokenizer.json describes it."""
    return None if step is None else json.loads(step.__getstate__())


def described_model(model: Any) -> dict[str, Any] | None:
    """Return what a BPE model does with characters that no token has; None for models of other types."""
    if not isinstance(model, tokenizers.models.BPE):
        return None
    names = ("unk_token", "fuse_unk", "byte_fallback", "continuing_subword_prefix", "end_of_word_suffix")
    return {name: getattr(model, name) for name in names}


def longest_added(library: Any) -> int:
    """Return the bytes of the longest added token, as it is sought in a text."""
    change = (lambda text: text) if library.normalizer is None else library.normalizer.normalize_str
    added = library.get_added_tokens_decoder().values()
    texts = [change(token.content) if token.normalized else token.content for token in added]
    return max((len(text.encode()) for text in texts), default=0)


def parse(definition: bytes) -> Any:
    """Return the library's tokenizer without truncation and padding."""
    library = tokenizers.Tokenizer.from_buffer(definition)
    library.no_truncation()
    library.no_padding()
    return library


def add_tokens(
    library: Any,
    declared: list[dict[str, Any]],
    wanted: list[dict[str, Any]],
    ends: list[str],
    control_ids: list[int],
) -> None:
    """Add tokens to the library's tokenizer. Those that it lacks get the next free ids, in this order.

    A token is special if anything says so: tokenizer.json, `declared`, `wanted`, `ends`, or `control_ids`.

    Args:
        library: the tokenizer.
        declared: added tokens, whose flags replace those in tokenizer.json.
        wanted: added tokens, whose flags count only if nothing else lists them.
        ends: texts that end an answer, and are special, if they are tokens at all.
        control_ids: ids of added tokens that are special.
    """
    own = library.get_added_tokens_decoder()
    known = {token.content: token for token in own.values()}
    tokens = known | {token["content"]: AddedToken(**token) for token in declared}
    for token in wanted:
        tokens.setdefault(token["content"], AddedToken(**token))
    known_ends = {text for text in ends if text in tokens or library.token_to_id(text) is not None}
    for text in known_ends - tokens.keys():
        tokens[text] = AddedToken(text, normalized=False)
    special = known_ends | {token["content"] for token in [*declared, *wanted] if token["special"]}
    special_ids = set(control_ids)
    special |= {token.content for number, token in own.items() if token.special or number in special_ids}
    # The library takes seconds for 60,000 tokens, so only those that change are added.
    same = {text for text, token in known.items() if token is tokens[text] and token.special == (text in special)}
    changed = [token for text, token in tokens.items() if text not in same]
    for token in changed:
        token.special = token.content in special
    library.add_tokens(changed)


def around_a_text(library: Any) -> tuple[list[int], list[int]]:
    """Return the ids that the post-processor puts before a text and after it."""
    text = library.encode("a", add_special_tokens=False).ids
    whole = library.encode("a", add_special_tokens=True).ids
    before = next((n for n in range(len(whole)) if whole[n : n + len(text)] == text), 0)
    return list(whole[:before]), list(whole[before + len(text) :])


def adds_space(library: Any) -> bool:
    """Return whether a text gets a space before its first word, as the library stores spaces."""
    tokens = library.encode("a", add_special_tokens=False).tokens
    return bool(tokens) and tokens[0].startswith(("Ġ", "▁"))
