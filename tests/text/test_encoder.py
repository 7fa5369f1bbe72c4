"""Special tokens that a message spells change nothing else, for every kind of tokenizer that the library describes.

The oracle is the library with a tokenizer whose special tokens have other names of the same form. It takes the names of
the first tokenizer for ordinary text, so its ids are the right ones.
"""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tiny_tokenizer import definition, llama2_style
from tokenizers import Tokenizer as LibraryTokenizer

from minillm.text.encoder import Encoder
from minillm.text.tokenizer import Tokenizer

NAMES = {"<|im_start|>": "<|ux_start|>", "<|im_end|>": "<|ux_end|>", "STOP": "HALT"}
TEMPLATES = [
    "{% for m in messages %}<|im_start|>user\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant",
    "STOP {% for m in messages %} ab {{ m.content }} <|im_end|>  ab STOP{% endfor %} a",
    "ab{% for m in messages %}<|im_start|> {{ m.content | trim }}STOP\n{% endfor %} STOP b<|im_end|>",
]
ORDINARY = ["<|", "|>", " ", "  ", "\n", "a", "ab", "b", "é", "e\u0301", "_", "漢", "<|ux_end|>"]
PARTS = [*NAMES, *NAMES, "STOPPED", "stop", "<|IM_END|>", "<|im_", *ORDINARY[:-1]]
MESSAGES = st.lists(st.lists(st.sampled_from(PARTS), max_size=5).map("".join), min_size=1, max_size=2)
FLAGS = st.fixed_dictionaries(dict.fromkeys(["lstrip", "rstrip", "single_word", "normalized"], st.booleans()))
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
BERT = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
        "lowercase": True}  # fmt: skip
NORMALIZERS = [
    None, {"type": "NFC"}, {"type": "NFKC"}, {"type": "Lowercase"}, BERT, REPLACE, {"type": "Prepend", "prepend": "▁"},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, REPLACE]},
]  # fmt: skip
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
METASPACES = [
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}
    for scheme in ("first", "always", "never") for split in (True, False)
]  # fmt: skip
CUTS = [None, BYTE_LEVEL, BYTE_LEVEL | {"add_prefix_space": False}, *METASPACES, {"type": "BertPreTokenizer"},
        {"type": "WhitespaceSplit"}, {"type": "Sequence", "pretokenizers": [METASPACES[0], BYTE_LEVEL]}]  # fmt: skip
PIECES = ["<unk>", *NAMES, *"▁abuserit<|_>TOPéSDĠĊ\n", "▁a", "ab", "▁ab", "user", "##b", "##a", "|>", "STO", "[UNK]"]
VOCAB = {piece: number for number, piece in enumerate(PIECES)}
MODELS = {
    "byte-level BPE": definition()["model"],
    "BPE with bytes": llama2_style()["model"],
    "Unigram": {"type": "Unigram", "unk_id": 0, "byte_fallback": False,
                "vocab": [[piece, 0.0 if piece in NAMES else -1.0 - len(piece)] for piece in PIECES]},
    "WordPiece": {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": VOCAB},
    "WordLevel": {"type": "WordLevel", "unk_token": "<unk>", "vocab": VOCAB},
    "whole words": definition()["model"] | {"ignore_merges": True, "merges": [], "vocab": VOCAB},
}  # fmt: skip


@st.composite
def definitions(draw: st.DrawFn) -> str:
    """Return a tokenizer.json. Some models have the special tokens in their vocabulary."""
    model = MODELS[draw(st.sampled_from(sorted(MODELS)))]
    known = VOCAB if model["type"] == "Unigram" else model["vocab"]
    ids = {name: known.get(name, len(known) + number) for number, name in enumerate(NAMES)}
    prevented = {"single_word": False, "normalized": False} if "STOP" in known else {}  # the model would form them
    added = [{"id": ids[name], "content": name, "special": True, **draw(FLAGS), **prevented} for name in NAMES]
    steps = {"normalizer": draw(st.sampled_from(NORMALIZERS)), "pre_tokenizer": draw(st.sampled_from(CUTS))}
    added.sort(key=lambda token: token["id"])
    return json.dumps(definition() | steps | {"added_tokens": added, "decoder": None, "model": model})


def renamed(text: str) -> str:
    for name, other in NAMES.items():
        text = text.replace(name, other)
    return text


def by_library(values: str, template: str, messages: list[str]) -> list[int]:
    """Return the ids of the rendered template, with the special tokens of these names."""
    before, rest = template.split("{% for m in messages %}")
    each, after = rest.split("{% endfor %}")
    turns = [each.replace("{{ m.content }}", text).replace("{{ m.content | trim }}", text.strip()) for text in messages]
    library = LibraryTokenizer.from_str(values)
    return library.encode(before + "".join(turns) + after, add_special_tokens=False).ids


def ids(values: str, template: str, messages: list[str]) -> list[int]:
    ours = Tokenizer(values.encode(), chat_template=template)
    return ours.apply_chat_template([{"role": "user", "content": text} for text in messages])


@pytest.mark.parametrize("template", TEMPLATES)
@given(values=definitions(), messages=MESSAGES)
def test_special_tokens_that_a_message_spells_are_text_and_all_else_stays(template, values, messages):
    expected = by_library(renamed(values), renamed(template), messages)
    special = {token["id"] for token in json.loads(values)["added_tokens"]}
    before, each, after = template.replace("{% endfor %}", "{% for m in messages %}").split("{% for m in messages %}")
    names = sum((before + each * len(messages) + after).count(name) for name in NAMES)
    assume(sum(token in special for token in expected) == names)  # else the renamed template has other letters
    assert ids(values, template, messages) == expected


@pytest.mark.parametrize("template", TEMPLATES)
@given(values=definitions(), text=st.lists(st.sampled_from(ORDINARY), max_size=5).map("".join))
def test_messages_without_special_tokens_have_the_ids_of_the_library(template, values, text):
    assert ids(values, template, [text, text]) == by_library(values, template, [text, text])


@pytest.mark.parametrize("normalized", [True, False])
def test_a_stand_in_is_found_before_or_after_the_normalizer_as_its_token_is(normalized):
    """A normalizer that strips pieces sees other pieces in the two cases."""
    flags = {"special": True, "lstrip": False, "rstrip": False, "single_word": False, "normalized": normalized}
    added = [{"id": 261 + number, "content": name, **flags} for number, name in enumerate(NAMES)]
    strip = {"type": "Strip", "strip_left": True, "strip_right": True}
    values = json.dumps(definition() | {"normalizer": strip, "added_tokens": added})
    template = "{% for m in messages %} a <|im_end|> b {{ m.content }}{% endfor %}"
    assert ids(values, template, ["<|im_end|> a"]) == by_library(renamed(values), renamed(template), ["<|im_end|> a"])


def test_a_template_strips_the_spaces_that_a_special_token_of_a_message_would_take():
    flags = {"special": True, "lstrip": True, "rstrip": True, "single_word": False, "normalized": False}
    added = [{"id": 261 + number, "content": name, **flags} for number, name in enumerate(NAMES)]
    values = json.dumps(definition() | {"added_tokens": added})
    template = "{% for m in messages %}{{ m.content | trim }}{% endfor %}"
    assert ids(values, template, ["\n\nSTOP  ", " a"]) == by_library(renamed(values), template, ["\n\nSTOP  ", " a"])


def with_special(values: dict, text: str) -> tuple[Tokenizer, LibraryTokenizer]:
    """Return both tokenizers; a token of the vocabulary is special."""
    flags = {"special": True, "lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    added = [*values["added_tokens"], {"id": values["model"]["vocab"][text], "content": text, **flags}]
    added.sort(key=lambda token: token["id"])
    library = LibraryTokenizer.from_str(json.dumps(values | {"added_tokens": added}))
    library.encode_special_tokens = True
    return Tokenizer(json.dumps(values | {"added_tokens": added}).encode(), chat_template=TEMPLATES[0]), library


PIECES_OF_WORDS = {"added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": None,
                   "model": MODELS["WordPiece"]}  # fmt: skip


@pytest.mark.parametrize("values, special", [
    *[(definition(), text) for text in ["!", "a", "Ġ", "Ċ", "Ã", "ab", "Ġa"]], (llama2_style(), "a"),
    (llama2_style(), "▁"), (llama2_style(), "▁a"), (definition() | PIECES_OF_WORDS, "##b"),
])  # fmt: skip
def test_text_does_not_vanish_if_a_token_that_spells_it_is_special_too(values, special):
    tokenizer, library = with_special(values, special)
    for text in ["Hi! Go!", "banana é", "a b\n\nab", " abc a aab"]:
        assert tokenizer.encode(text) == library.encode(text, add_special_tokens=False).ids
        assert values["decoder"] is None or tokenizer.decode(tokenizer.encode(text)) == text


def test_a_typed_token_that_is_text_too_stands_next_to_one_of_the_template():
    tokenizer, _ = with_special(definition(), "!")
    tokenizer.chat_template = "!{% for m in messages %}{{ m.content }}{% endfor %}<|im_end|>"
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "!<|im_end|>"}])
    typed = tokenizer.encode("!<|im_end|>")
    assert typed[0] == 2 and ids == [2, *typed, 1]


@pytest.mark.parametrize("first, after", [(0x2800, 0x2900), (0xA000, 0xA48D)])
def test_an_added_token_with_all_characters_for_stand_ins_is_refused_in_words(first, after):
    values = definition()
    values["added_tokens"][1]["content"] = "".join(map(chr, range(first, after)))
    with pytest.raises(ValueError, match="added tokens contain all letters of Yi or all signs of Braille"):
        Tokenizer(json.dumps(values).encode())


def test_only_added_tokens_that_can_be_in_the_text_are_copied(monkeypatch):
    """The library takes seconds to copy 30,000 with long names."""
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    more = [{"id": 300 + n, "content": f"<more {n}>", "special": n % 2 == 0, **flags} for n in range(100)]
    values = definition() | {"added_tokens": [*definition()["added_tokens"], *more]}
    library = LibraryTokenizer.from_str(json.dumps(values))
    encoder, copied = Encoder(library), []
    monkeypatch.setattr(encoder, "_copy", lambda added: copied.extend(added) or Encoder._copy(encoder, added))
    text = "<more 6><more 7>ab<more 8><more 9>"
    ids = encoder.encode_spans(text, encoder.find(text)[1:])
    assert ids == [*encoder.encode_spans("<more 6>", []), *library.encode(text).ids[1:]]
    assert [token.content for token in copied[:-1]] == ["<more 6>", "<more 7>", "<more 8>", "<more 9>"]
