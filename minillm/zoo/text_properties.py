"""Properties of streamed text: the pieces together are the text, and nothing of a stop string is shown.

A property takes Hypothesis's `data`, and raises AssertionError with the text of the counterexample.
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from hypothesis import strategies as st

import minillm
from minillm.text.text_stream import TextStream
from minillm.text.tokenizer import Tokenizer

LETTERS = "ab é😀"  # of one byte, of two, and of four
ONE_PIECE = ["▁", "a", "b", "é", "😀", "▁a", "▁b"]  # ▁ is how SentencePiece writes a space


def pieces_are_the_text_of_all_tokens(data: st.DataObject) -> None:
    """Joining the pieces of a stream must give the text of all of its tokens."""
    name = data.draw(st.sampled_from(["byte-level", "SentencePiece"]))
    tokens = _tokens(data, tokenizer_named(name), data.draw(_texts()))
    stream = TextStream(tokenizer_named(name))
    pieces = [*map(stream.push, tokens), stream.finish()]
    expected = tokenizer_named(name).decode(tokens)
    if "".join(pieces) != expected:
        raise AssertionError(
            f"a {name} tokenizer, the tokens {tokens}:\nthe pieces are {pieces}\nexpected {expected!r}"
        )


def nothing_of_a_stop_string_is_shown(data: st.DataObject) -> None:
    """Streaming must show the text before the first stop string, all of it and no more."""
    tokenizer, text = tokenizer_named("byte-level"), data.draw(_texts())
    stop = data.draw(st.text("ab ", min_size=1, max_size=3))
    stream, pieces = TextStream(tokenizer, [stop]), list[str]()
    for token in _tokens(data, tokenizer, text):
        pieces.append(stream.push(token))
        if stream.stopped:
            break
    pieces.append(stream.finish())
    if "".join(pieces) != text.split(stop)[0]:
        raise AssertionError(f"the stop string {stop!r} and the text {text!r}:\nthe pieces are {pieces}")


@cache
def tokenizer_named(name: str) -> Tokenizer:
    """Return one of two tokenizers: that of the bundled model, or a tiny one in SentencePiece's style."""
    if name == "byte-level":
        return minillm.load("story-draft", "plain").tokenizer
    return Tokenizer(json.dumps(_sentencepiece()).encode())


def _texts() -> st.SearchStrategy[str]:
    return st.text(LETTERS, min_size=1, max_size=6)


def _tokens(data: st.DataObject, tokenizer: Tokenizer, text: str) -> Sequence[int]:
    """Return the tokens of a text that is cut in two, so that tokens end at any character."""
    cut = data.draw(st.integers(0, len(text)))
    return [token for part in (text[:cut], text[cut:]) if part for token in tokenizer.encode(part)]


def _sentencepiece() -> dict[str, Any]:
    """Return a tokenizer.json as transformers converts SentencePiece's: the space of a text's first word is dropped."""
    space = {"pattern": {"String": "▁"}, "content": " "}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "post_processor": None,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", **space}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {piece: number for number, piece in enumerate(ONE_PIECE)},
                  "merges": [["▁", "a"], ["▁", "b"]]},
    }  # fmt: skip
