"""The files around a tokenizer.json: what they name, add and make special. tests/oracles compares with transformers."""

import json
import warnings

import pytest
from tiny_folder import CONFIG, assert_refused, write_folder, write_json
from tiny_tokenizer import CHATML, SPECIAL, definition

import minillm
from minillm.text import tokenizer_sandbox
from minillm.text.chat_template import render
from minillm.text.messages import free_signs

START, END = SPECIAL
AB = definition()["model"]["vocab"]["ab"]
NEW = len(definition()["model"]["vocab"])
PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
CASES = {  # files, what is special besides the two of tokenizer.json, what has a name
    "no files": ({}, {}, {}),
    "a name in the settings": ({"tokenizer_config": {"bos_token": START}}, {}, {"bos_token": START}),
    "a name in the map": ({"special_tokens_map": {"bos_token": START}}, {}, {"bos_token": START}),
    "an object": ({"special_tokens_map": {"pad_token": {"content": START}}}, {}, {"pad_token": START}),
    "the map overrules": (
        {"tokenizer_config": {"bos_token": END}, "special_tokens_map": {"bos_token": START}}, {}, {"bos_token": START},
    ),
    "null takes a name away": (
        {"tokenizer_config": {"bos_token": END}, "special_tokens_map": {"bos_token": None}}, {}, {},
    ),
    "a complete list overrules the map": (
        {"tokenizer_config": {"added_tokens_decoder": {}}, "special_tokens_map": {"bos_token": START}}, {}, {},
    ),
    "a token of the vocabulary": ({"tokenizer_config": {"unk_token": "ab"}}, {"ab": AB}, {"unk_token": "ab"}),
    "a missing token": ({"tokenizer_config": {"cls_token": "<c>"}}, {"<c>": NEW}, {"cls_token": "<c>"}),
    "a list": ({"tokenizer_config": {"extra_special_tokens": ["<a>", "<b>"]}}, {"<a>": NEW, "<b>": NEW + 1}, {}),
    "an older list": ({"special_tokens_map": {"additional_special_tokens": ["<a>"]}}, {"<a>": NEW}, {}),
    "names of its own": (
        {"tokenizer_config": {"extra_special_tokens": {"boi": "<a>"}, "image_token": "<b>", "add_bos_token": False}},
        {"<b>": NEW, "<a>": NEW + 1}, {"image_token": "<b>", "boi": "<a>"},
    ),
    "special by its flag": (
        {"tokenizer_config": {"added_tokens_decoder": {"9": PLAIN | {"content": "ab", "special": True}}}},
        {"ab": AB}, {},
    ),
    "never less special": (
        {"tokenizer_config": {"added_tokens_decoder": {"0": PLAIN | {"content": START}}}}, {}, {},
    ),
    "added": ({"added_tokens": {"<t>": 300, "<s>": 299}, "tokenizer_config": {"bos_token": "<s>"}}, {"<s>": NEW},
              {"bos_token": "<s>"}),
}  # fmt: skip


def load(folder, files: dict):
    write_folder(folder)
    for name, values in files.items():
        write_json(folder / f"{name}.json", values)
    return minillm.load(folder)


@pytest.mark.parametrize("case", CASES)
def test_all_files_name_tokens_and_make_them_special(case, tmp_path):
    files, special, named = CASES[case]
    tokenizer = load(tmp_path, files).tokenizer
    assert tokenizer.special_tokens == {START: 0, END: 1} | special
    assert tokenizer.named_tokens == named


@pytest.mark.parametrize("name", ["tokenizer_config", "special_tokens_map"])
def test_a_template_sees_the_names_and_what_is_absent_is_undefined(name, tmp_path):
    tokenizer = load(tmp_path, {name: {"bos_token": START, "pad_token": "<p>"}}).tokenizer
    tokenizer.chat_template = "{{ bos_token }} {{ pad_token }} {{ eos_token is defined }} {{ unk_token is defined }}"
    messages = [{"role": "user", "content": ""}]
    assert render(tokenizer, free_signs(messages), messages) == f"{START} <p> False False"


def test_a_token_that_is_special_by_the_settings_alone_is_neither_shown_nor_typed(tmp_path):
    write_folder(tmp_path)
    values, added = definition(), PLAIN | {"id": NEW, "content": "<|tool|>"}
    write_json(tmp_path / "tokenizer.json", values | {"added_tokens": [*values["added_tokens"], added]})
    write_json(tmp_path / "tokenizer_config.json", {"extra_special_tokens": ["<|tool|>"]})
    tokenizer = minillm.load(tmp_path).tokenizer
    assert NEW not in tokenizer.encode("a<|tool|>")
    assert tokenizer.decode([NEW, AB], skip_special_tokens=True) == "ab"


def test_the_flags_of_a_complete_list_replace_those_of_tokenizer_json(tmp_path):
    declared = PLAIN | {"content": START, "lstrip": True, "rstrip": True}
    tokenizer = load(tmp_path, {"tokenizer_config": {"added_tokens_decoder": {"0": declared}}}).tokenizer
    assert tokenizer.encode_with_special(f"  {START}  ab") == [0, AB]


def test_a_special_token_that_the_normalizer_changes_is_not_shown(tmp_path):
    write_folder(tmp_path)
    added = PLAIN | {"id": NEW, "content": "<e>", "special": True, "normalized": True}
    values = definition() | {"normalizer": {"type": "Prepend", "prepend": "a"}}
    write_json(tmp_path / "tokenizer.json", values | {"added_tokens": [*values["added_tokens"], added]})
    tokenizer = minillm.load(tmp_path).tokenizer
    assert tokenizer.decode([NEW, AB], skip_special_tokens=True) == "ab"


BAD = {
    "a list": ("tokenizer_config", []),
    "a name that is a number": ("tokenizer_config", {"bos_token": 3}),
    "an object without text": ("special_tokens_map", {"eos_token": {"lstrip": True}}),
    "half a surrogate pair": ("tokenizer_config", {"bos_token": "\ud800"}),
    "a flag that is text": ("tokenizer_config", {"added_tokens_decoder": {"0": {"content": "a", "lstrip": "yes"}}}),
    "an id that is text": ("tokenizer_config", {"added_tokens_decoder": {"x": PLAIN | {"content": "a"}}}),
    "a list of tokens without ids": ("tokenizer_config", {"added_tokens_decoder": [PLAIN]}),
    "a token of a list": ("tokenizer_config", {"extra_special_tokens": [None]}),
    "an added id below zero": ("added_tokens", {"<t>": -1}),
    "an added id that is text": ("added_tokens", {"<t>": "1"}),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_a_token_is_refused_by_name(case, tmp_path):
    write_folder(tmp_path)
    name, values = BAD[case]
    write_json(tmp_path / f"{name}.json", values)
    assert_refused(tmp_path, rf"^{name}\.json: ")


def test_a_large_file_of_settings_is_read(tmp_path):
    """Files with tens of thousands of added tokens have more than the 4 MB of other settings."""
    assert load(tmp_path, {"tokenizer_config": {"bos_token": START, "x": "y" * 6_000_000}}).tokenizer.special_tokens


def many(count: int) -> dict:
    """Return the settings of a complete list of tokens with long names."""
    name = "<|{}_reserved_special_token_for_later_use_and_more_{}|>"
    tokens = {str(NEW + i): PLAIN | {"content": name.format(i, i), "special": True} for i in range(count)}
    return {"tokenizer_config": {"added_tokens_decoder": tokens}}


def test_the_time_to_read_grows_with_what_other_files_add(tmp_path, monkeypatch):
    allowed, ask = [], tokenizer_sandbox.PROCESS.ask
    monkeypatch.setattr(tokenizer_sandbox.PROCESS, "ask", lambda *a: allowed.append(a[1]) or ask(*a))
    write_folder(tmp_path)
    size = (tmp_path / "tokenizer.json").stat().st_size
    load(tmp_path, many(7_000))
    assert size < 20_000 and allowed[0] > tokenizer_sandbox.SECONDS


@pytest.mark.slow
def test_thirty_thousand_added_tokens_are_read(tmp_path):
    tokenizer_sandbox.PROCESS.close()
    tokenizer = load(tmp_path, many(30_000)).tokenizer
    assert len(tokenizer.special_tokens) == 30_002
    assert tokenizer.encode_spans(f"{START}ab{START}", [(0, len(START), START)])[:2] == [0, AB]


WARNINGS = {
    "add_eos_token": {"add_eos_token": True},
    "split_special_tokens": {"split_special_tokens": True},
    "add_prefix_space": {"add_prefix_space": True},
    "fast_tokenizer_files": {"fast_tokenizer_files": ["tokenizer.4.0.0.json", "tokenizer.json"]},
}


@pytest.mark.parametrize("name", WARNINGS)
def test_a_setting_without_effect_gets_one_warning(name, tmp_path):
    with pytest.warns(UserWarning, match=rf"^tokenizer_config\.json: {name} without effect") as caught:
        load(tmp_path, {"tokenizer_config": WARNINGS[name]})
    assert len(caught) == 1


def test_settings_that_say_what_tokenizer_json_does_get_no_warning(tmp_path):
    silent = {"add_prefix_space": False, "add_eos_token": False, "legacy": True, "tokenizer_class": "LlamaTokenizer"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(tmp_path, {"tokenizer_config": silent | {"fast_tokenizer_files": ["tokenizer.json"]}}).tokenizer


MORE = "additional_chat_templates"
TEMPLATES = {  # the files, by their names
    "the settings": {"tokenizer_config.json": {"chat_template": CHATML}},
    "a list of named ones": {"tokenizer_config.json": {"chat_template": [
        {"name": "tool_use", "template": "no"}, {"name": "default", "template": CHATML}]}},
    "an object of named ones": {"tokenizer_config.json": {"chat_template": {"rag": "no", "default": CHATML}}},
    "a file of its own": {"chat_template.jinja": CHATML, "tokenizer_config.json": {"chat_template": "no"}},
    "a file and others": {"chat_template.jinja": CHATML, f"{MORE}/tool_use.jinja": "no"},
    "a default among others": {f"{MORE}/default.jinja": CHATML, f"{MORE}/tool_use.jinja": "no"},
    "the file of older models of images": {"chat_template.json": {"chat_template": CHATML}},
    "which counts last": {"chat_template.json": {"chat_template": "no"},
                          "tokenizer_config.json": {"chat_template": CHATML}},
}  # fmt: skip


def write_templates(folder, files: dict) -> None:
    write_folder(folder)
    (folder / MORE).mkdir()
    for name, contents in files.items():
        (folder / name).write_text(contents if isinstance(contents, str) else json.dumps(contents))


@pytest.mark.parametrize("case", TEMPLATES)
def test_the_chat_template_comes_from_the_first_place_that_has_any(case, tmp_path):
    write_templates(tmp_path, TEMPLATES[case])
    assert minillm.load(tmp_path).tokenizer.chat_template == CHATML


@pytest.mark.parametrize("files", [
    {"tokenizer_config.json": {"chat_template": [{"name": "rag", "template": "no"}]}},
    {f"{MORE}/rag.jinja": "no", "tokenizer_config.json": {"chat_template": CHATML}},
])  # fmt: skip
def test_templates_without_a_default_are_not_used_and_named(files, tmp_path):
    write_templates(tmp_path, files)
    with pytest.warns(UserWarning, match="^chat templates: expected one named default, found rag; none is used$"):
        assert minillm.load(tmp_path).tokenizer.chat_template is None


ENDS = {  # eos_token_id of config.json, the files, the ends
    "the settings name another": (1, {"tokenizer_config": {"eos_token": "ab"}}, (1, AB)),
    "the settings alone": (None, {"tokenizer_config": {"eos_token": END}}, (1,)),
    "the map alone": (None, {"special_tokens_map": {"eos_token": {"content": END}}}, (1,)),
    "all four": (
        3, {"generation_config": {"eos_token_id": [4, 3]}, "tokenizer_config": {"eos_token": "ab"},
            "special_tokens_map": {"eos_token": END}}, (3, 4, AB, 1),
    ),
    "a map that does not count for names": (
        None, {"tokenizer_config": {"added_tokens_decoder": {}}, "special_tokens_map": {"eos_token": END}}, (1,),
    ),
    "an end that the model cannot choose": (1, {"tokenizer_config": {"eos_token": "<new>"}}, (1,)),
    "null": (1, {"tokenizer_config": {"eos_token": None}}, (1,)),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
def test_an_answer_ends_at_each_token_that_any_file_names(case, tmp_path):
    config, files, expected = ENDS[case]
    write_folder(tmp_path, CONFIG | {"eos_token_id": config})
    for name, values in files.items():
        write_json(tmp_path / f"{name}.json", values)
    model = minillm.load(tmp_path)
    assert model.config.eos_token_ids == expected
    ends = {number for number in expected if number > 4}
    assert ends <= set(model.tokenizer.special_tokens.values())
