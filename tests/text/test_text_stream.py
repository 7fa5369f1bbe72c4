"""Streamed text equals decoded text, and never contains half a character or a part of a stop string."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import VOCAB_SIZE, llama2_tokenizer, tiny_tokenizer

from minillm.text.text_stream import MAX_UNFINISHED, TextStream

TOKENIZER = tiny_tokenizer()
PARTS = ["a", "b", "c", " ", "ab", "é", "漢", "😀", "\n", "👩\u200d🚀"]
WORDS = st.lists(st.sampled_from(PARTS), min_size=1).map("".join)
ids_of_any_bytes = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=60)


def run(ids, stop=(), tokenizer=TOKENIZER, prompt=()):
    """Return the texts that were pushed out, up to a stop, and the stream."""
    stream = TextStream(tokenizer, stop, prompt)
    pieces = []
    for token in ids:
        pieces.append(stream.push(token))
        if stream.stopped:
            return pieces, stream
    return [*pieces, stream.finish()], stream


@given(text=st.text())
def test_pieces_join_to_the_text(text):
    pieces, stream = run(TOKENIZER.encode(text))
    assert "".join(pieces) == stream.text == text


@pytest.mark.parametrize("tokenizer", [TOKENIZER, llama2_tokenizer()], ids=["bytes", "llama 2"])
@given(prompt=WORDS, text=WORDS)
def test_pieces_continue_the_prompt(tokenizer, prompt, text):
    """The prompt and the pieces together are the text of all tokens: the space of a first word is not lost."""
    before, after = tokenizer.encode(prompt), tokenizer.encode(prompt + text)
    if after[: len(before)] == before:
        pieces, _ = run(after[len(before) :], tokenizer=tokenizer, prompt=before)
        assert prompt + "".join(pieces) == prompt + text
        assert all("\ufffd" not in piece for piece in pieces)


@given(text=st.text(min_size=1))
def test_no_piece_holds_half_a_character(text):
    pieces, _ = run(TOKENIZER.encode(text.replace("\ufffd", "")))
    assert all("\ufffd" not in piece for piece in pieces)


@given(ids=ids_of_any_bytes)
def test_any_tokens_at_all_give_what_decode_gives(ids):
    """Invalid bytes become replacement characters, the same as when all tokens are decoded at once."""
    assert "".join(run(ids)[0]) == TOKENIZER.decode(ids, skip_special_tokens=True)


def test_a_character_of_four_bytes_comes_whole():
    pieces, _ = run(TOKENIZER.encode("a😀b"))
    assert [piece for piece in pieces if piece] == ["a", "😀", "b"]


@given(text=st.text(alphabet="abc.", max_size=30), stop=st.lists(st.text("abc.", min_size=1, max_size=4), max_size=3))
def test_text_ends_before_the_first_stop_string(text, stop):
    pieces, stream = run([t for c in text for t in TOKENIZER.encode(c)], stop)
    found = [text.find(s) for s in stop if s in text]
    # Characters arrive one by one, so the stop that is complete first wins; of those that end there, the longest.
    first_end = min((text.find(s) + len(s) for s in stop if s in text), default=len(text))
    begins = [first_end - len(s) for s in stop if text[:first_end].endswith(s)]
    assert stream.stopped == bool(found)
    assert "".join(pieces) == (text[: min(begins)] if found else text)


def test_a_stop_string_split_over_tokens_is_never_shown():
    ids = [*TOKENIZER.encode("one E"), *TOKENIZER.encode("N"), *TOKENIZER.encode("D two")]
    pieces, stream = run(ids, ["END"])
    assert "".join(pieces) == "one " and stream.stopped


@pytest.mark.parametrize("text", ["EN route", "the EN", "E", "ENEN"])
def test_text_that_only_began_like_a_stop_is_returned(text):
    pieces, stream = run(TOKENIZER.encode(text), ["END"])
    assert "".join(pieces) == text and not stream.stopped


@pytest.mark.parametrize(
    "text, stop, shown", [("xaaab", "aab", "xa"), ("ababac", "abac", "ab"), ("..x...", "...", "..x")]
)
def test_a_stop_string_that_begins_like_itself_is_found(text, stop, shown):
    """Character by character: the longest beginning of the stop must stay pending, not the shortest."""
    pieces, stream = run([t for c in text for t in TOKENIZER.encode(c)], [stop])
    assert "".join(pieces) == shown and stream.stopped


def test_two_stops_in_one_token_end_before_the_first():
    token = TOKENIZER.encode("abc")
    assert len(token) == 1
    assert "".join(run(token, ["c", "b"])[0]) == "a"


def test_special_tokens_are_not_text():
    assert "".join(run([0, *TOKENIZER.encode("hi"), 1])[0]) == "hi"


def test_no_text_is_returned_after_a_stop():
    stream = TextStream(TOKENIZER, ["."])
    for token in TOKENIZER.encode("a.b"):
        stream.push(token)
    assert (stream.text, stream.push(TOKENIZER.encode("c")[0]), stream.finish()) == ("a", "", "")


@pytest.mark.parametrize("count", [1, 40])
def test_endless_half_characters_are_returned_in_the_end(count):
    """The text of a model that writes only first bytes of characters must not be pending for ever."""
    first_byte = TOKENIZER.encode("é")[0]
    pieces, _ = run([first_byte] * count)
    assert "".join(pieces) == TOKENIZER.decode([first_byte] * count)
    assert count < MAX_UNFINISHED or any(pieces[: MAX_UNFINISHED + 1])
