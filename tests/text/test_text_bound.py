"""A text that certainly has more tokens than the context is refused before it is encoded, and no other text is."""

import json
import unicodedata
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_folder import CONTEXT, save_model_folder
from tiny_tokenizer import (
    SPECIAL,
    definition,
    llama2_style,
    normalizers,
    replace,
    tiny_tokenizer,
    with_added,
    with_model,
)

import minillm
from minillm.text.text_bound import UNICODE, byte_letters
from minillm.text.tokenizer import TextTooLong, Tokenizer


def without(*letters: str) -> dict:
    vocab = {text: number for text, number in definition()["model"]["vocab"].items() if text not in letters}
    return with_model(vocab=vocab, merges=[])


WORDS = {"a": 0, "b": 1, "<unk>": 2}
PLAIN = {"pre_tokenizer": None, "added_tokens": []}
SPLIT = {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False}
TOKENIZERS = {
    "byte-level": {}, "without some bytes": without("Ć", "a"), "NFC": normalizers({"type": "NFC"}),
    "NFKC": normalizers({"type": "NFKC"}), "NFD": normalizers({"type": "NFD"}),
    "NFKC and lower case": normalizers({"type": "NFKC"}, {"type": "Lowercase"}),
    "NFC without a letter": normalizers({"type": "NFC"}) | without("é"),
    "spaces that shrink": normalizers(replace("    ", " ")), "removed": normalizers(replace("a", "")),
    "stripped": normalizers({"type": "Strip", "strip_left": True, "strip_right": True}),
    "a pattern": normalizers(replace("", " ") | {"pattern": {"Regex": " +"}}),
    "cut out": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [SPLIT, definition()["pre_tokenizer"]]}},
    "unknown": with_model(vocab=WORDS, merges=[], unk_token="<unk>") | PLAIN,
    "unknown ones fused": with_model(vocab=WORDS, merges=[], unk_token="<unk>", fuse_unk=True) | PLAIN,
    "unknown ones dropped": with_model(vocab=WORDS, merges=[]) | PLAIN,
    "a long added token": with_added("a" * 50), "one that strips": with_added("b", rstrip=True),
    "one that grows": normalizers({"type": "NFKD"}) | with_added("ﷺ", normalized=True),
    "one that is replaced": normalizers(replace("a", "    ")) | with_added("aaa", normalized=True),
    "SentencePiece": llama2_style(),
    "words": {"model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "<unk>"}} | PLAIN,
}  # fmt: skip
BOUNDED = ("byte-level", "without some bytes", "NFC", "NFKC and lower case", "spaces that shrink", "unknown",
           "a long added token", "SentencePiece")  # fmt: skip
CHARACTERS = st.sampled_from("aab  \u0301\u0300\u0345éᾂ𝐚ﬁﷺ각ᄀ\u0006Ａ😀<") | st.characters(exclude_categories=["Cs"])
CHARACTERS_OF_UNICODE = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
TEXTS = st.lists(CHARACTERS | st.sampled_from(["aaa", " " * 9, "a" * 50, *SPECIAL])).map("".join)


@cache
def tokenizer(case: str) -> Tokenizer:
    return Tokenizer(json.dumps(definition() | TOKENIZERS[case]).encode())


@given(case=st.sampled_from(list(TOKENIZERS)), text=TEXTS, times=st.sampled_from([1, 30]))
def test_a_text_that_fits_is_not_refused(case, text, times):
    for ids in (tokenizer(case).encode(text * times), tokenizer(case).encode_with_special(text * times)):
        tokenizer(case).check_length(text * times, len(ids))


@pytest.mark.parametrize("case", BOUNDED)
def test_a_text_that_is_far_too_long_is_refused(case):
    with pytest.raises(ValueError, match=r"100000 characters has more tokens than the model's context of 50$"):
        tokenizer(case).check_length("b" * 100_000, 50)


@pytest.mark.slow
@pytest.mark.parametrize("composed, decomposed", [("NFC", "NFD"), ("NFKC", "NFKD")])
def test_no_character_shrinks_more_than_the_bound(composed, decomposed):
    """Each part of a character is taken in its longest form, which is more than any text can have."""
    parts = {character: unicodedata.normalize(decomposed, character) for character in CHARACTERS_OF_UNICODE}
    longest = dict[str, int]()
    for character, decomposition in parts.items():
        for part in decomposition:
            longest[part] = max(longest.get(part, 0), len(character.encode()))
    for character, decomposition in parts.items():
        if unicodedata.is_normalized(composed, character):
            assert sum(longest[part] for part in decomposition) <= UNICODE * len(character.encode())
    assert all(length <= UNICODE * len(part.encode()) for part, length in longest.items())
    assert all(len(c.encode()) <= UNICODE * len(c.lower().encode()) for c in CHARACTERS_OF_UNICODE)


def test_the_letters_of_bytes_are_the_library_s():
    text = "".join(map(chr, range(0x800)))
    pre = definition()["pre_tokenizer"] | {"use_regex": False}
    ids = Tokenizer(json.dumps(definition() | {"pre_tokenizer": pre}).encode()).encode(text)
    letters = {number: letter for letter, number in definition()["model"]["vocab"].items()}
    assert "".join(letters[number] for number in ids) == "".join(byte_letters()[byte] for byte in text.encode())


LONG = "😀" * 100_000
DOORS = {
    "generate": lambda model: minillm.generate(model, LONG, 1),
    "messages": lambda model: minillm.generate(model, [{"role": "user", "content": LONG}], 1),
    "stream": lambda model: next(minillm.stream(model, LONG, 1)),
    "score": lambda model: minillm.score(model, LONG),
    "submit": lambda model: minillm.Engine(model).submit(LONG, 1),
    "conversation": lambda model: minillm.Conversation(model).answer(LONG),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_text_that_is_far_too_long_is_not_encoded(door, tmp_path, monkeypatch):
    model = minillm.load(save_model_folder(tmp_path))
    monkeypatch.setattr(Tokenizer, "encode_spans", lambda *_, **__: pytest.fail("it was encoded"))
    with pytest.raises(ValueError, match=rf"^a text of \d+ characters has more tokens than .*context of {CONTEXT}$"):
        DOORS[door](model)


@pytest.mark.parametrize("texts", [[LONG], ["a" * 3_900_000], ["a" * 2000] * 1000], ids=["emoji", "letters", "turns"])
def test_messages_that_are_far_too_long_do_not_reach_the_tokenizer(texts, monkeypatch):
    messages = [{"role": "user", "content": text} for text in texts]
    monkeypatch.setattr(Tokenizer, "find_special", lambda *_: pytest.fail("it was encoded"))
    with pytest.raises(TextTooLong, match=r"^a text of \d+ characters has more tokens than .*context of 100$"):
        tiny_tokenizer().apply_chat_template(messages, 100)


def test_turns_that_the_template_leaves_out_do_not_count():
    messages = [{"role": "user", "content": text} for text in ["a" * 50_000, "ab", "b"]]
    tokenizer = tiny_tokenizer("{% for m in messages[-2:] %}{{ m.content }} {% endfor %}")
    assert tokenizer.apply_chat_template(messages, 100) == tokenizer.encode("ab b ")


def test_what_a_template_makes_too_long_is_not_encoded(monkeypatch):
    monkeypatch.setattr(Tokenizer, "find_special", lambda *_: pytest.fail("it was encoded"))
    call = {"role": "assistant", "tool_calls": ["a" * 100_000]}
    with pytest.raises(TextTooLong, match=r"^a text of 100004 characters has more tokens than .*context of 100$"):
        tiny_tokenizer("{{ messages[0].tool_calls }}").apply_chat_template(
            [call, {"role": "user", "content": "a"}], 100
        )
