"""Streamed text equals decoded text, and never contains half a character or a part of a stop string."""

import json
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import SPECIAL, VOCAB_SIZE, definition, llama2_style, llama2_tokenizer, tiny_tokenizer

from minillm.text.text_stream import TextStream
from minillm.text.tokenizer import Tokenizer

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


@pytest.mark.parametrize("stops, parts, shown", [
    (["END", "LONGER"], ["aE", "ND"], "a"), (["ab", "ccc"], ["x", "a", "b", "z"], "x"),
    (["\ufffd"], ["a", "é", "b"], "aéb"),
])  # fmt: skip
def test_a_stop_string_is_found_next_to_others_and_not_in_half_a_character(stops, parts, shown):
    pieces, stream = run([token for part in parts for token in TOKENIZER.encode(part)], stops)
    assert "".join(pieces) == shown and stream.stopped == (shown != "aéb")


def test_special_tokens_of_a_prompt_are_not_part_of_its_text():
    tokenizer = llama2_tokenizer()
    assert "".join(run(tokenizer.encode("ab"), tokenizer=tokenizer, prompt=[1])[0]) == "ab"


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


@pytest.mark.parametrize("count", [1, 2, 40])
def test_half_characters_come_one_token_late(count):
    """Only the last one can still become a character."""
    first_byte = TOKENIZER.encode("é")[0]
    pieces, _ = run([first_byte] * count)
    assert pieces == ["", *["\ufffd"] * count]


REPLACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
DECODERS = {
    "llama 2": [REPLACE, {"type": "ByteFallback"}, {"type": "Fuse"}, STRIP],
    "gemma": [REPLACE, {"type": "ByteFallback"}, {"type": "Fuse"}],
    "two spaces off": [REPLACE, {"type": "ByteFallback"}, {"type": "Fuse"}, STRIP | {"start": 2}],
    "metaspace": [METASPACE],
    "word pieces": [{"type": "WordPiece", "prefix": "##", "cleanup": True}],
    "suffixes": [{"type": "BPEDecoder", "suffix": "b"}],
}


def decoding(*steps: dict) -> Tokenizer:
    """Return the tokenizer in the form of Llama 2 with another decoder and three more tokens."""
    values = llama2_style() | {"decoder": {"type": "Sequence", "decoders": list(steps)}}
    for text in ("\ufffd", "##b", "."):
        values["model"]["vocab"][text] = len(values["model"]["vocab"])
    return Tokenizer(json.dumps(values).encode())


STREAMED = {"byte-level": TOKENIZER} | {name: decoding(*steps) for name, steps in DECODERS.items()}


@st.composite
def tokens(draw: st.DrawFn, tokenizer: Tokenizer) -> list[int]:
    """Return ids of texts, single bytes, special tokens, and ids that have no token."""
    texts = ["é", "漢", "😀", "a", "ab ", " b", "  ", "\ufffd", "e\u0301", "€a", "\ufffd\ufffd"]
    text = st.sampled_from(texts).map(tokenizer.encode)
    halves = st.sampled_from(["é", "漢", "😀"]).map(lambda text: tokenizer.encode(text)[:-1] * 3)
    single = st.integers(0, tokenizer.vocab_size + 2).map(lambda token: [token])
    return [token for part in draw(st.lists(text | text | halves | single, max_size=8)) for token in part]


@pytest.mark.parametrize("name", STREAMED)
@given(data=st.data())
def test_pieces_join_to_the_text_of_all_tokens_wherever_the_prompt_ends(name, data):
    tokenizer = STREAMED[name]
    ids = data.draw(tokens(tokenizer))
    cut = data.draw(st.integers(0, len(ids)))
    whole, before = (tokenizer.decode(part, skip_special_tokens=True) for part in (ids, ids[:cut]))
    pieces, stream = run(ids[cut:], tokenizer=tokenizer, prompt=ids[:cut])
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(whole, before, strict=False)))
    assert "".join(pieces) == stream.text == whole[common:]


@pytest.mark.parametrize("tokenizer", [TOKENIZER, llama2_tokenizer()], ids=["bytes", "llama 2"])
@pytest.mark.parametrize("text", ["€a", "\ufffd" * 9 + "€a", "a" + "\ufffd" * 6])
def test_nothing_is_lost_after_many_halves(tokenizer, text):
    ids = [*tokenizer.encode("é")[-2:-1] * 14, *tokenizer.encode(text)]
    assert "".join(run(ids, tokenizer=tokenizer)[0]) == tokenizer.decode(ids)


def test_a_special_token_keeps_the_space_of_the_next_word():
    tokenizer = llama2_tokenizer()
    ids = tokenizer.encode("a ab")
    for special in (1, 2):
        pieces, _ = run([*ids[:1], special, *ids[1:]], tokenizer=tokenizer)
        assert "".join(pieces) == "a ab"


def possible(text: str, stops: list[str]) -> int:
    """Return the length of the longest end of `text` that begins a stop string but is not all of it."""
    ends = [n for n in range(1, len(text) + 1) for stop in stops if stop.startswith(text[-n:]) and len(stop) > n]
    return max(ends, default=0)


LETTERS = st.sampled_from(["a", "b", "é", "漢", "😀"])
STOPS = st.lists(st.lists(LETTERS, min_size=1, max_size=3).map("".join), max_size=3)


@pytest.mark.parametrize("name", ["byte-level", "gemma"])
@given(text=st.lists(LETTERS, max_size=12).map("".join), stops=STOPS)
def test_after_each_token_all_text_is_returned_that_cannot_begin_a_stop(name, text, stops):
    """The answer ends with the token that completes a stop string, and not one later."""
    tokenizer = STREAMED[name]
    ids = [token for character in text for token in tokenizer.encode(character)]
    stream = TextStream(tokenizer, stops)
    for count, token in enumerate(ids, 1):
        stream.push(token)
        so_far = tokenizer.decode(ids[:count])
        certain = so_far.rstrip("\ufffd")
        found = [certain.find(stop) for stop in stops if stop in certain]
        assert stream.stopped == bool(found)
        if found:
            assert stream.text == certain[: min(found)]
            return
        if name == "byte-level":
            assert stream.text == certain[: len(certain) - possible(certain, stops)]
    assert stream.text + stream.finish() == tokenizer.decode(ids)


@pytest.mark.parametrize("stops", [("END", "xy"), ("xy", "END"), ("ENDING", "ND"), ("ND", "ENDING")])
def test_the_longer_of_two_stops_is_never_shown_in_part(stops):
    pieces, stream = run([t for c in "an END" for t in TOKENIZER.encode(c)], stops)
    assert "".join(pieces) == ("an E" if "ND" in stops else "an ") and stream.stopped
    assert pieces[3:5] == ["", ""]


def test_a_stop_that_is_a_special_token_ends_at_that_token():
    """It has no text, so its letters alone would never be found."""
    ids = [*TOKENIZER.encode("one "), 1, *TOKENIZER.encode("two")]
    pieces, stream = run(ids, [SPECIAL[1]])
    assert ("".join(pieces), stream.stopped, stream.push(5)) == ("one ", True, "")
    assert run(TOKENIZER.encode(f"one {SPECIAL[1]}"), [SPECIAL[1]])[1].text == "one "  # and letter by letter


@pytest.mark.parametrize("stop", [f"{SPECIAL[1]}\n", f" {SPECIAL[0]}", SPECIAL[0] * 2])
def test_a_stop_around_a_special_token_is_refused(stop):
    with pytest.raises(ValueError, match=r"^stop is .*expected text without the special token <\|im_"):
        TextStream(TOKENIZER, ["a", stop])


def test_a_special_token_that_the_normalizer_changes_has_no_text_either():
    """The library shows it: it compares the changed text with the names of special tokens."""
    values = definition() | {"normalizer": {"type": "Lowercase"}}
    values["added_tokens"][0] |= {"content": "STOP", "normalized": True, "id": len(values["model"]["vocab"])}
    values["added_tokens"].reverse()
    tokenizer = Tokenizer(json.dumps(values).encode())
    ids = [*tokenizer.encode("ab"), tokenizer.special_tokens["STOP"]]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "".join(run(ids, tokenizer=tokenizer)[0]) == "ab"
