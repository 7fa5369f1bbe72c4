"""Tokenizer: decode inverts encode, special tokens in a text are text, and a damaged file is refused in one line."""

import json
import os
import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import sleep

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tiny_folder import assert_loaded_or_refused, assert_refused, write_folder, write_json
from tiny_tokenizer import CHATML, SPECIAL, definition, llama2_style, llama2_tokenizer, tiny_tokenizer

import minillm
from minillm.loading.tokenizer_folder import read_tokenizer
from minillm.text.special_tokens import SpecialTokens
from minillm.text.tokenizer import Tokenizer

TINY = tiny_tokenizer()
NAMED = dict(zip(("bos_token", "eos_token"), SPECIAL, strict=True))
UNICODE = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("abc \0<|>_😀é"))


@given(UNICODE)
def test_any_text_comes_back(text):
    assert TINY.decode(TINY.encode(text)) == text


@given(st.lists(st.sampled_from([*SPECIAL, "<|im_", "end|>", " ", "a"])).map("".join))
def test_special_tokens_in_a_text_are_text(text):
    ids = TINY.encode(text)
    assert min(ids, default=2) >= 2 and TINY.decode(ids) == text


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud83d"])
def test_half_a_surrogate_pair_is_refused(text):
    for encode in (TINY.encode, TINY.encode_prompt, TINY.encode_with_special):
        with pytest.raises(ValueError, match="half a surrogate pair"):
            encode(text)


@pytest.mark.parametrize("ids", [[-1], [2**31], [2**70], [3, -5]])
def test_an_id_that_cannot_be_one_is_refused(ids):
    with pytest.raises(ValueError, match=r"^a token id is .*expected an integer from 0"):
        TINY.decode(ids)


@pytest.mark.parametrize("setting, expected", [(True, [0]), (False, []), (None, [])])
def test_the_beginning_token_is_added_once_to_a_raw_prompt(setting, expected, tmp_path):
    folder = write_folder(tmp_path)
    write_json(folder / "tokenizer_config.json", {"bos_token": SPECIAL[0], "add_bos_token": setting})
    tokenizer = minillm.load(folder).tokenizer
    text = f"{SPECIAL[0]}ab"  # a typed one is text and does not count
    assert tokenizer.encode_prompt(text) == expected + tokenizer.encode(text)


def processor(*parts: str) -> dict:
    """Return a post-processor that puts special tokens around the text "A"."""
    kinds = [{"Sequence" if part == "A" else "SpecialToken": {"id": part, "type_id": 0}} for part in parts]
    special = {text: {"id": text, "ids": [i], "tokens": [text]} for i, text in enumerate(SPECIAL)}
    pair = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": kinds, "pair": pair, "special_tokens": special}


@pytest.mark.parametrize(
    "parts, expected",
    [((SPECIAL[0], "A"), [0]), ((SPECIAL[0], "A", SPECIAL[1]), [0]), (("A", SPECIAL[1]), []), (("A",), [])],
)
@pytest.mark.parametrize(
    "settings", [{"bos_token": SPECIAL[0]}, {"bos_token": {"content": SPECIAL[0]}}, {"add_bos_token": False}, {}, None]
)
def test_what_tokenizer_json_puts_before_a_text_is_put_before_a_raw_prompt(parts, settings, expected, tmp_path):
    """With every tokenizer_config.json, and with none: as transformers does it."""
    folder = write_folder(tmp_path)
    write_json(folder / "tokenizer.json", definition() | {"post_processor": processor(*parts)})
    if settings is not None:
        write_json(folder / "tokenizer_config.json", settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenizer = minillm.load(folder).tokenizer
    assert tokenizer.encode_prompt("ab") == expected + tokenizer.encode("ab")
    assert tokenizer.encode_prompt("") == expected
    left_out = [f"tokenizer.json: {SPECIAL[1]!r} is not put after a prompt, since it continues"]
    assert [str(warning.message) for warning in caught] == (left_out if parts[-1] != "A" else [])


def added(**changes: object) -> dict:
    first, *others = definition()["added_tokens"]
    return definition() | {"added_tokens": [first | changes, *others]}


BAD = {
    "a list": [], "a number": 3, "null": None, "empty": {}, "no model": {"version": "1.0"},
    "added tokens are an object": definition() | {"added_tokens": {"id": 0}},
    "added tokens are texts": definition() | {"added_tokens": ["<s>"]},
    "an id below zero": added(id=-1), "an id that is a text": added(id="0"), "a huge id": added(id=2**70),
    "an id that is null": added(id=None), "an id that is a list": added(id=[0]),
    "content is a number": added(content=1),
    "vocab is a list": definition() | {"model": {"type": "BPE", "vocab": [], "merges": []}},
    "vocab ids are texts": definition() | {"model": {"type": "BPE", "vocab": {"a": "0"}, "merges": []}},
    "vocab ids below zero": definition() | {"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}},
    "merges of nothing": definition() | {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["x", "y"]]}},
    "an unknown model": definition() | {"model": {"type": "GPT"}},
    "an unknown decoder": definition() | {"decoder": {"type": "Magic"}},
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tokenizer_is_refused(case, tmp_path):
    folder = write_folder(tmp_path)
    write_json(folder / "tokenizer.json", BAD[case])
    assert_refused(folder, r"^tokenizer\.json")


@pytest.mark.parametrize("depth", [500, 5_000, 100_000])
def test_a_definition_that_is_nested_deep_is_refused_or_fine(depth):
    """The depth at which a reader of JSON gives up differs between versions of Python."""
    text = json.dumps(definition())[:-1] + f', "unknown": {"[" * depth}{"]" * depth}}}'
    try:
        Tokenizer(text.encode())
    except ValueError as problem:
        assert str(problem).startswith("tokenizer.json: ") and "\n" not in str(problem)


def test_a_tokenizer_cut_anywhere_is_refused(tmp_path):
    folder = write_folder(tmp_path)
    whole = (folder / "tokenizer.json").read_bytes()
    for length in random.Random(0).sample(range(len(whole)), 100):
        (folder / "tokenizer.json").write_bytes(whole[:length])
        assert not assert_loaded_or_refused(folder)


def test_a_tokenizer_with_flipped_bits_loads_or_is_refused(tmp_path):
    folder, chance = write_folder(tmp_path), random.Random(1)
    whole = (folder / "tokenizer.json").read_bytes()
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        (folder / "tokenizer.json").write_bytes(damaged)
        assert_loaded_or_refused(folder)


def test_without_a_tokenizer_token_ids_work_and_text_is_refused(tmp_path):
    folder = write_folder(tmp_path)
    (folder / "tokenizer.json").unlink()
    model = minillm.load(folder)
    assert minillm.generate(model, [3, 4], 2).text == ""
    with pytest.raises(ValueError, match=r"no tokenizer\.json, or .*: pass token ids"):
        minillm.generate(model, "Hello")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), min_size=1))
def test_any_text_comes_back_in_the_llama_2_style(text):
    tokenizer = llama2_tokenizer()
    ids = tokenizer.encode_prompt(text)
    assert ids[0] == 1 and not {0, 1, 2} & set(ids[1:])
    assert tokenizer.decode(ids[1:]) == text


def with_more_tokens() -> dict:
    """Return added tokens after the vocabulary: special, ordinary, and ordinary but named as an end of sequence."""
    values = definition()
    first, end = values["added_tokens"][0], len(values["model"]["vocab"])
    more = [("<think>", False), ("</s>", True), ("<eos>", False)]
    values["added_tokens"] += [
        first | {"id": end + i, "content": text, "special": special} for i, (text, special) in enumerate(more)
    ]
    return values


END = len(with_more_tokens()["model"]["vocab"]) + 2  # <eos>
TEXTS = st.lists(st.sampled_from([*SPECIAL, "<think>", "</s>", "<eos>", "<s>", " ", "a", "▁", "é"])).map("".join)


@pytest.mark.parametrize("make", [definition, llama2_style, with_more_tokens])
@given(text=TEXTS)
def test_text_and_templates_are_encoded_as_the_library_alone_does(make, text):
    """minillm has two views of one vocabulary; the library has a complete tokenizer for each."""
    values = make()
    for token in values["added_tokens"]:
        token["special"] = token["special"] or token["id"] == END
    library = tokenizers.Tokenizer.from_str(json.dumps(values))
    ours = Tokenizer(json.dumps(make()).encode(), control_ids=[END])
    assert ours.encode_with_special(text) == library.encode(text, add_special_tokens=False).ids
    library.encode_special_tokens = True
    ids = library.encode(text, add_special_tokens=False).ids
    assert ours.encode(text) == ids
    for skip in (True, False):
        assert ours.decode(ids, skip) == library.decode(ids, skip)


def test_an_end_of_sequence_token_is_special_even_if_the_file_says_otherwise():
    tokenizer = Tokenizer(json.dumps(with_more_tokens()).encode(), control_ids=[END])
    assert tokenizer.special_tokens.keys() == {*SPECIAL, "</s>", "<eos>"}
    assert END not in tokenizer.encode("<eos>") and tokenizer.encode_with_special("<eos>") == [END]
    assert tokenizer.decode([END, *tokenizer.encode("a")], skip_special_tokens=True) == "a"


def template(*parts: str) -> dict:
    """Return a post-processor whose special token stands for one id."""
    return processor(*parts) | {"special_tokens": {SPECIAL[0]: {"id": SPECIAL[0], "ids": [0], "tokens": ["a"]}}}


ODD = [None, 3, "x", [], [[]], {}, {"a": 1}, [None], {"x": [1, "y"]}, {"x": {"ids": 3}}]


@pytest.mark.parametrize("name", ["single", "pair", "special_tokens", "type", "processors"])
@pytest.mark.parametrize("value", ODD)
def test_a_template_with_fields_of_other_types_is_fine_or_refused_in_one_line(name, value):
    odd = template("A", SPECIAL[0]) | {name: value}
    for around in (odd, {"type": "Sequence", "processors": [odd]}):
        try:
            Tokenizer(json.dumps(definition() | {"post_processor": around}).encode())
        except ValueError as problem:
            assert str(problem).startswith("tokenizer.json: ") and "\n" not in str(problem)


UNASKED = {
    "padding to a length": {"padding": {
        "strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "a"}},
    "padding to a multiple": {"padding": {
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": 10**9, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "a"}},
    "truncation": {"truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 5}},
}  # fmt: skip


@pytest.mark.parametrize("case", UNASKED)
def test_padding_and_truncation_have_no_effect(case):
    tokenizer = Tokenizer(json.dumps(definition() | UNASKED[case]).encode())
    assert tokenizer.encode_prompt("hello abc") == TINY.encode("hello abc")


PANICS = {
    "a special token that does not exist": {"post_processor": processor("<nothing>", "A")},
    "more texts than one": {
        "post_processor": processor("A", "A") | {"single": [{"Sequence": {"id": "B", "type_id": 0}}]}
    },
    "pieces of no length": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
}


@pytest.mark.parametrize("case", PANICS)
def test_a_panic_of_the_library_at_load_prints_no_text(case, tmp_path, capfd):
    folder = write_folder(tmp_path)
    write_json(folder / "tokenizer.json", definition() | PANICS[case])
    assert_refused(folder, r"^tokenizer\.json: not usable as a tokenizer: ")
    assert capfd.readouterr() == ("", "")


LIMITS = {
    "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
    "padding": {"strategy": {"Fixed": 90}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                "pad_type_id": 0, "pad_token": SPECIAL[0]},
}  # fmt: skip


@pytest.mark.parametrize("limit", LIMITS)
def test_a_text_is_neither_truncated_nor_padded(limit):
    """Files keep such settings from training."""
    definition_with_limit = definition() | {limit: LIMITS[limit]}
    tokenizer = Tokenizer(json.dumps(definition_with_limit).encode(), chat_template=CHATML)
    text, messages = "a long question", [{"role": "user", "content": "a long question"}]
    assert tokenizer.encode(text) == TINY.encode(text)
    assert tokenizer.encode_with_special(text) == TINY.encode(text)
    assert tokenizer.apply_chat_template(messages) == TINY.apply_chat_template(messages)


@pytest.mark.parametrize("add_bos", [True, False])
def test_a_saved_tokenizer_is_the_same_when_it_is_read(add_bos, tmp_path):
    tokenizer = Tokenizer(json.dumps(definition()).encode(), (), CHATML, SpecialTokens(NAMED), add_bos)
    tokenizer.save(tmp_path)
    again = read_tokenizer(tmp_path, ())
    assert again.encode_prompt("ab") == tokenizer.encode_prompt("ab") == [0] * add_bos + TINY.encode("ab")
    assert (again.chat_template, again.named_tokens) == (CHATML, NAMED)


def test_while_one_thread_loads_and_encodes_all_that_others_write_to_stderr_arrives(capfd):
    data, tokenizer, done, text = json.dumps(definition()).encode(), tiny_tokenizer(), Event(), "abc " * 200
    lines = [f"line {number}" for number in range(400)]

    def encode():
        while not done.is_set():
            Tokenizer(data)
            assert tokenizer.decode(tokenizer.encode(text)) == text
            assert tokenizer.decode(tokenizer.encode_with_special(text)) == text

    with ThreadPoolExecutor(1) as threads:
        encoding = threads.submit(encode)
        for line in lines:
            os.write(2, f"{line}\n".encode())
            sleep(0.0005)
        done.set()
        encoding.result()
    assert capfd.readouterr().err.splitlines() == lines


def test_threads_that_encode_at_once_get_their_own_ids():
    texts = [f"text {number}" for number in range(100)]
    with ThreadPoolExecutor(8) as threads:
        assert [TINY.decode(ids) for ids in threads.map(TINY.encode, texts)] == texts


def test_a_panic_of_the_library_while_it_encodes_is_one_line():
    """This pattern tries 2**30 ways to cut 30 letters; then the library gives up, with a panic."""
    split = {"type": "Split", "pattern": {"Regex": "(?:(?:x|x)+)+y"}, "behavior": "Isolated", "invert": False}
    tokenizer = Tokenizer(json.dumps(definition() | {"pre_tokenizer": split}).encode())
    assert tokenizer.encode("xxx")
    with pytest.raises(ValueError, match=r"^tokenizer\.json: not usable as a tokenizer: ") as caught:
        tokenizer.encode("x" * 30)
    assert "\n" not in str(caught.value)


FORKS = """
import json, os, threading
from tiny_tokenizer import definition, tiny_tokenizer
from minillm.text.tokenizer import Tokenizer
data, tokenizer, done = json.dumps(definition()).encode(), tiny_tokenizer(), threading.Event()
def work():
    while not done.is_set():
        assert {work}
thread, before = threading.Thread(target=work), os.fstat(2)
thread.start()
for _ in range(5):
    child = os.fork()
    if not child:
        fine = {work} and os.path.samestat(os.fstat(2), before)
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
done.set()
thread.join()
"""


@pytest.mark.parametrize("work", ["tokenizer.encode('abc ' * 99)", "Tokenizer(data).encode('abc')"])
def test_a_fork_while_another_thread_encodes_or_loads_does_not_hang(work):
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])}
    command = [sys.executable, "-W", "ignore", "-c", FORKS.format(work=work)]
    assert subprocess.run(command, env=environment, timeout=60).returncode == 0
