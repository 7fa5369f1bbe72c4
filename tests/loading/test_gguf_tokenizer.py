"""Tokenizers rebuilt from GGUF metadata cut text as the originals do, and what cannot be rebuilt leaves token ids."""

from itertools import pairwise

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from test_smollm2 import write_gguf as write_llama
from tiny_tokenizer import CHATML, definition

import minillm
from minillm.loading.gguf.pre_tokenizers import CUTS
from minillm.loading.gguf.sentencepiece import sentencepiece_definition
from minillm.loading.gguf.tokenizer import tokenizer_from_gguf
from minillm.text.tokenizer import Tokenizer

BYTE_LEVEL = definition()["model"]
TOKENS = [*BYTE_LEVEL["vocab"], "xyz"]
METADATA = {
    "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [3, 3] + [1] * (len(TOKENS) - 2),
    "tokenizer.ggml.merges": [" ".join(pair) for pair in BYTE_LEVEL["merges"]],
    "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.eos_token_id": 1,
}  # fmt: skip


def rebuilt(**changes: object) -> Tokenizer:
    """From METADATA with these changes, without the keys' common beginning; None removes a key."""
    changed = METADATA | {f"tokenizer.ggml.{name}": value for name, value in changes.items()}
    tokenizer = tokenizer_from_gguf({name: v for name, v in changed.items() if v is not None}, (1,), "x.gguf")
    assert tokenizer is not None
    return tokenizer


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.token_text(token) for token in tokenizer.encode(text)]


TEXT = "I'LL go1234 xY!/\n\n  ok (x)"
WORDS = {  # of TEXT, and the names of all that cut it so
    ("default",): ["I", "'", "LL", " go", "123", "4", " xY", "!/", "\n\n ", " ok"],
    ("gpt-2",): ["I", "'", "LL", " go", "1234", " xY", "!/", "\n\n ", " ok"],
    ("smollm", "refact", "starcoder"): ["I", "'", "LL", " go", *"1234", " xY", "!/", "\n\n ", " ok"],
    ("llama-bpe", "llama3", "llama-v3", "falcon3", "smaug-bpe"): [
        "I", "'LL", " go", "123", "4", " xY", "!/\n\n", " ", " ok"],
    ("qwen2", "deepseek-r1-qwen", "megrez"): ["I", "'LL", " go", *"1234", " xY", "!/\n\n", " ", " ok"],
    ("tekken",): ["I", "'LL", " go", *"1234", " x", "Y", "!/\n\n", " ", " ok"],
}  # fmt: skip
WORDS_BY_NAME = {
    name: [*words, *([" ", "(", "x", ")"] if name == "default" else [" (", "x", ")"])]
    for names, words in WORDS.items()
    for name in names
}
LIKE_LLAMA_3 = {"llama-bpe", "llama3", "llama-v3", "falcon3", "tekken"}


def test_every_kind_of_cuts_has_its_words():
    assert WORDS_BY_NAME.keys() == CUTS.keys()


@pytest.mark.parametrize("pre", CUTS)
def test_text_is_cut_into_the_words_of_its_kind(pre):
    cutter = tokenizers.Tokenizer.from_str(rebuilt(pre=pre)._library.to_json()).pre_tokenizer
    assert [TEXT[begin:end] for _, (begin, end) in cutter.pre_tokenize_str(TEXT)] == WORDS_BY_NAME[pre]


@pytest.mark.parametrize("pre", CUTS)
def test_llama_3_takes_a_word_that_is_a_token_whole(pre):
    """No merge leads to it: its tokenizer.json says `ignore_merges`."""
    assert pieces(rebuilt(pre=pre), "xyz") == (["xyz"] if pre in LIKE_LLAMA_3 else ["x", "y", "z"])


@pytest.mark.parametrize("pre", CUTS)
@pytest.mark.parametrize("says", [None, True, False])
def test_the_beginning_token_where_the_file_does_not_say(pre, says):
    tokenizer = rebuilt(pre=pre, add_bos_token=says)
    expected = [0] if (pre in LIKE_LLAMA_3 if says is None else says) else []
    assert tokenizer.encode_prompt("x") == expected + tokenizer.encode("x")


def test_a_token_that_its_maker_added_is_found_in_a_text_and_stays_in_it():
    """Unlike one that stands for no text; `<think>` is such a token, and is shown."""
    tokens, types = [*TOKENS, "<think>"], [3, 3] + [1] * (len(TOKENS) - 2) + [4]
    tokenizer = rebuilt(tokens=tokens, token_type=types)
    ids = tokenizer.encode("a<think>b")
    assert ids == [*tokenizer.encode("a"), len(TOKENS), *tokenizer.encode("b")]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a<think>b"
    assert tokenizer.special_tokens.keys() == set(TOKENS[:2])


def test_a_file_without_a_name_for_its_cuts_is_cut_as_llama_cpp_cuts_it():
    with pytest.warns(UserWarning, match=r"^x\.gguf: tokenizer\.ggml\.pre is missing; text is cut into words as llama"):
        cutter = tokenizers.Tokenizer.from_str(rebuilt(pre=None)._library.to_json()).pre_tokenizer
    text = "1234 (x)  $+é<=>'s 12,345.6 \u0661\u0662\u0663\u0664 a\n\n"
    words = ["123", "4", " ", "(", "x", ")", "  ", "$+", "é", "<=>'", "s", " ", "12", ",", "345", ".", "6"]
    words += [" ", "\u0661\u0662\u0663\u0664", " a", "\n\n"]
    assert [text[begin:end] for _, (begin, end) in cutter.pre_tokenize_str(text)] == words


@pytest.mark.parametrize("pre", CUTS)
def test_letters_with_accents_are_composed_where_the_original_does_it(pre):
    composed, apart = rebuilt(pre=pre).encode("\u00e9"), rebuilt(pre=pre).encode("e\u0301")
    assert (composed == apart) == (pre == "qwen2")


def test_digits_are_cut_one_by_one_by_threes_or_not_at_all():
    """Merges of two and three digits show where the cuts are."""
    tokens, merges = [*TOKENS, "11", "111", "1111"], ["1 1", "11 1", "11 11"]
    types = [3, 3] + [1] * (len(tokens) - 2)
    expected = {"smollm": ["1"] * 4, "qwen2": ["1"] * 4, "llama-bpe": ["111", "1"], "gpt-2": ["1111"]}
    for pre, cut in expected.items():
        assert pieces(rebuilt(pre=pre, tokens=tokens, token_type=types, merges=merges), "1111") == cut


def test_tekken_cuts_between_small_and_capital_letters():
    tokens, types = [*TOKENS, "aB"], [3, 3] + [1] * (len(TOKENS) - 1)
    assert pieces(rebuilt(pre="tekken", tokens=tokens, token_type=types, merges=["a B"]), "aB") == ["a", "B"]
    assert pieces(rebuilt(pre="llama-bpe", tokens=tokens, token_type=types, merges=["a B"]), "aB") == ["aB"]


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("abc 1\n")))
def test_any_text_comes_back(text):
    for tokenizer in BYTE_LEVEL_TOKENIZERS:
        assert tokenizer.decode(tokenizer.encode(text)) == text


BYTE_LEVEL_TOKENIZERS = [rebuilt(pre=pre) for pre in ("smollm", "llama-bpe", "qwen2", "tekken")]
PLAIN = ["▁", "a", "b", "c", "s", "<", ">", "/", "▁a", "ab", "bc", "▁ab", "▁▁", "abc", "<s", "<s>a", "ca", "0"]
SCORES = [0, 0, 0, 0, 0, 0, 0, 0, -3.0, -1.0, -2.0, -5.0, -4.0, -6.0, -7.0, -8.0, -1.5, 0]
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SENTENCEPIECE = {
    "model": "llama", "pre": "default", "tokens": [*SPECIAL, *BYTES, *PLAIN], "merges": None, "eos_token_id": 2,
    "token_type": [2, 3, 3] + [6] * 256 + [1] * len(PLAIN), "scores": [0.0] * 259 + SCORES, "bos_token_id": 1,
}  # fmt: skip


def sentencepiece(text: str) -> list[int]:
    """Join the best-scored pair, the leftmost of equals, until none is left; bytes for text that is not a token."""
    scores = dict(zip(PLAIN, SCORES, strict=True))
    parts = list("▁" + text.replace(" ", "▁")) if text else []
    while True:
        joins = [(-scores[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in scores]
        if not joins:
            break
        _, i = min(joins)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    ids = ([259 + PLAIN.index(part)] if part in scores else [3 + byte for byte in part.encode()] for part in parts)
    return [token for several in ids for token in several]


SPM = rebuilt(**SENTENCEPIECE)


@given(st.lists(st.sampled_from([*PLAIN, *"é😀\n 0x", "<s>", "</s>", "<0x0A>"]), max_size=12).map("".join))
def test_sentencepiece_joins_the_best_scored_pair_first(text):
    assert SPM.encode(text) == sentencepiece(text)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁") | st.sampled_from("abc  ")))
def test_any_text_comes_back_from_sentencepiece(text):
    assert SPM.decode(SPM.encode(text)) == text


def test_a_typed_special_token_is_text_to_sentencepiece():
    assert not {0, 1, 2, 13} & set(SPM.encode("<s>a</s><unk><0x0A>"))
    assert SPM.encode_with_special("<s>a")[0] == 1


@pytest.mark.parametrize("says, expected", [(None, [1]), (True, [1]), (False, [])])
def test_sentencepiece_begins_with_its_token_unless_the_file_says_no(says, expected):
    tokenizer = rebuilt(**SENTENCEPIECE, add_bos_token=says)
    assert tokenizer.encode_prompt("ab") == expected + tokenizer.encode("ab")


def test_without_a_space_before_the_text():
    tokenizer = rebuilt(**SENTENCEPIECE, add_space_prefix=False)
    assert pieces(tokenizer, "ab") == ["ab"] and tokenizer.decode(tokenizer.encode(" ab")) == " ab"


def test_a_file_without_token_types_has_plain_tokens_and_its_end():
    assert rebuilt(token_type=None).special_tokens == {"<|im_end|>": 1}


def test_sentencepiece_takes_the_longest_pieces_of_real_vocabularies():
    pieces = ["▁" * length for length in range(1, 17)]
    tokenizer = rebuilt(
        model="llama", tokens=["<unk>", "</s>", *pieces], token_type=None, scores=[-float(i) for i in range(18)],
        add_space_prefix=False,
    )  # fmt: skip
    assert tokenizer.encode(" " * 16) == [17]


def test_a_vocabulary_that_asks_for_millions_of_merges_is_refused(monkeypatch):
    monkeypatch.setattr("minillm.loading.gguf.sentencepiece.MOST_MERGES", 6)  # those of PLAIN are more
    with pytest.raises(ValueError, match=r"^x\.gguf: tokenizer\.ggml\.tokens: expected at most 6 merges of two tokens"):
        rebuilt(**SENTENCEPIECE)


def test_no_merges_lead_to_a_piece_of_hundreds_of_characters():
    """A small file could ask for millions: a text of 200 characters has 199 halves."""
    pieces = ["a" * length for length in range(1, 201)]
    values = sentencepiece_definition({"tokenizer.ggml.scores": [0.0] * 200}, pieces, [1] * 200, "x.gguf")
    assert max(len(left + right) for left, right in values["model"]["merges"]) == 64


BAD = {
    "no tokens": ({"tokens": None}, "tokens is None; expected a list of strings"),
    "tokens are numbers": ({"tokens": [1, 2]}, "tokens is"),
    "no token at all": ({"tokens": [], "token_type": []}, "tokens is"),
    "too few types": ({"token_type": [1]}, "token_type: expected a list of 262, one for each token"),
    "types are a number": ({"token_type": 3}, "token_type: expected a list"),
    "no merges": ({"merges": None}, "merges: expected strings"),
    "a merge of three": ({"merges": ["a b c"]}, "merges: expected strings of two tokens"),
    "merges of nothing": ({"merges": ["no such"]}, "not usable as a tokenizer"),
    "no scores": (SENTENCEPIECE | {"scores": None}, "scores: expected a list of 277 numbers"),
    "too few scores": (SENTENCEPIECE | {"scores": [0.0]}, "scores: expected a list of 277 numbers"),
    "scores are texts": (SENTENCEPIECE | {"scores": ["0"] * 277}, "scores: expected a list of 277 numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_lists_that_do_not_fit_together_are_refused(case):
    changes, expected = BAD[case]
    with pytest.raises(ValueError, match=rf"^x\.gguf: tokenizer\.ggml.*{expected}") as caught:
        rebuilt(**changes)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("key, value", [("pre", "poro-chat"), ("pre", 3), ("model", "t5"), ("model", [1]), ("pre", [])])
def test_a_kind_that_is_not_supported_leaves_token_ids(key, value):
    with pytest.warns(UserWarning, match=rf"^x\.gguf: tokenizer\.ggml\.{key} is .*: pass token ids, not text$"):
        assert tokenizer_from_gguf(METADATA | {f"tokenizer.ggml.{key}": value}, (), "x.gguf") is None


def test_a_model_with_such_a_tokenizer_runs_on_token_ids(tmp_path):
    write_llama(tmp_path / "x.gguf", pre="poro-chat")
    with pytest.warns(UserWarning, match=r"tokenizer\.ggml\.pre is 'poro-chat'"):
        model = minillm.load(tmp_path / "x.gguf")
    assert len(minillm.generate(model, [5, 6], 2).tokens) == 2
    with pytest.raises(ValueError, match="pass token ids"):
        minillm.generate(model, "Hello", 2)


def test_template_and_ends_come_along(tmp_path):
    write_llama(tmp_path / "x.gguf")
    model = minillm.load(tmp_path / "x.gguf")
    assert (model.tokenizer.chat_template, model.tokenizer.named_tokens["eos_token"], model.config.eos_token_ids) == (
        CHATML, "<|im_end|>", (1,),
    )  # fmt: skip
