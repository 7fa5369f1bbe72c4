"""The program that reads a tokenizer.json and encodes texts, by the `tokenizers` library.

`child_script.py` runs it in a child process, since the library trusts the file: steps of a few letters each make a
terabyte of one letter, and a pattern can try 2**22 ways to cut each of them. Every request names a tokenizer by its
`key`. It is one of

    {"key": "a1", "definition": "...", "control_ids": [0]}     read it: base64 of the file, tokens that are special
    {"key": "a1", "text": "Hi", "with_special": false}         {"ids": [...]}
    {"key": "a1", "ids": [5, 6], "skip_special_tokens": true}  {"text": "..."}
    {"key": "a1"}                                              {"definition": "..."} as the library writes it

and the answer to each is {"unknown": true} if the process has not read this tokenizer, or no longer has it.
"""

import base64
import json
import os
from typing import Any, NamedTuple

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one text gives threads nothing to share

import tokenizers

MOST_KEPT = 4  # tokenizers; the one read first makes room
MOST_TOKENS = 2_000_000  # of a vocabulary; the largest that are published have 900,000


class Views(NamedTuple):
    """Two tokenizers with one vocabulary: special tokens in a text become their ids, or are ordinary text."""

    with_special: Any
    as_text: Any


kept: dict[str, Views] = {}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer; see above.

    Raises:
        any exception, panics of the library included: the file is a stranger's.
    """
    if "control_ids" in request:
        return read(request["key"], base64.b64decode(request["definition"]), request["control_ids"])
    views = kept.get(request["key"])
    if views is None:
        return {"unknown": True}
    if "text" in request:
        return {"ids": encode(views.with_special if request["with_special"] else views.as_text, request["text"])}
    if "ids" in request:
        skip = request["skip_special_tokens"]
        return {"text": views.with_special.decode(request["ids"], skip_special_tokens=skip)}
    return {"definition": views.with_special.to_str()}


def read(key: str, definition: bytes, control_ids: list[int]) -> dict[str, Any]:
    """Read a tokenizer.json; return what the parent needs to know of it: `Facts` in tokenizer_sandbox.py."""
    library = parse(definition, control_ids)
    vocabulary = library.get_vocab(with_added_tokens=True)
    if len(vocabulary) > MOST_TOKENS:
        raise ValueError(f"{len(vocabulary)} tokens; expected at most {MOST_TOKENS}")
    added = library.get_added_tokens_decoder()
    facts = {
        "vocabulary": vocabulary,
        "added": {number: token.content for number, token in added.items()},
        "special": {token.content: number for number, token in added.items() if token.special},
        "decoder": described(library.decoder),
        "before": before_text(library),
        "normalizer": described(library.normalizer),
        "pre_tokenizer": described(library.pre_tokenizer),
        "model": described_model(library.model),
        "strips": any(token.lstrip or token.rstrip for token in added.values()),
        "longest_added": longest_added(library),
    }
    kept.pop(key, None)
    while len(kept) >= MOST_KEPT:
        del kept[next(iter(kept))]
    kept[key] = Views(library, without_special(library))
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


def parse(definition: bytes, control_ids: list[int]) -> Any:
    """Return the library's tokenizer without truncation and padding, with `control_ids` made special."""
    library = tokenizers.Tokenizer.from_buffer(definition)
    library.no_truncation()
    library.no_padding()
    added = library.get_added_tokens_decoder()
    library.add_special_tokens([token for number, token in added.items() if number in control_ids])
    return library


def without_special(library: Any) -> Any:
    """Return a tokenizer that treats special tokens as text. It shares the vocabulary: a copy takes 15 MB and 0.1 s."""
    view = tokenizers.Tokenizer(library.model)
    if library.normalizer is not None:
        view.normalizer = library.normalizer
    if library.pre_tokenizer is not None:
        view.pre_tokenizer = library.pre_tokenizer
    added = library.get_added_tokens_decoder()
    view.add_tokens([added[number] for number in sorted(added)])
    view.encode_special_tokens = True
    return view


def encode(library: Any, text: str) -> list[int]:
    """Return the ids of a text without what a post-processor adds. Offsets, which the fast variant leaves out, take
    half of the time and memory.
    """
    return list(library.encode_batch_fast([text], add_special_tokens=False)[0].ids)


def before_text(library: Any) -> list[int]:
    """Return the ids that the post-processor puts before a text."""
    text = library.encode("a", add_special_tokens=False).ids
    whole = library.encode("a", add_special_tokens=True).ids
    return list(whole[: next((n for n in range(len(whole)) if whole[n : n + len(text)] == text), 0)])
