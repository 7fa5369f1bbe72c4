"""Settings of generation_config.json that would change an answer: one warning names them and what follows them."""

import warnings

import pytest
from tiny_folder import CONFIG, write_folder, write_json

import minillm
from minillm.loading.read_config import read_config

BEGINNING = "generation_config.json: not used unless you ask for it: "
SAID = {
    "a penalty": (
        {"repetition_penalty": 1.5},
        "repetition_penalty 1.5; to follow it as far as minillm can, pass --repet",
    ),
    "forbidden tokens": ({"suppress_tokens": [3], "bad_words_ids": [[4]]}, "suppress_tokens [3], bad_words_ids [[4]]"),
    "at the beginning": ({"begin_suppress_tokens": [3]}, "begin_suppress_tokens [3]"),
    "sampling": (
        {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20},
        "do_sample True, temperature 0.6, top_p 0.9, top_k 20; to follow it as far as minillm can, pass --temperature "
        "0.6 --top-k 20 --top-p 0.9",
    ),
    "sampling alone": (
        {"do_sample": True},
        "do_sample True; to follow it as far as minillm can, pass --temperature 1.0",
    ),
    "an early end": ({"max_length": 20}, "max_length 20"),
    "new tokens": (
        {"max_new_tokens": 9},
        "max_new_tokens 9; to follow it as far as minillm can, pass --max-new-tokens 9",
    ),
    "beams": ({"num_beams": 4, "length_penalty": 2.0}, "num_beams 4"),
    "stops": ({"stop_strings": ["x"]}, "stop_strings ['x']"),
    "a setting of tomorrow": ({"soft_penalty": 0.5}, "soft_penalty 0.5"),
    "nonsense": ({"repetition_penalty": "much"}, "repetition_penalty 'much'"),
}
SILENT = {
    "nothing": {},
    "neutral values": {
        "repetition_penalty": 1.0,
        "num_beams": 1,
        "suppress_tokens": [],
        "min_length": 0,
        "top_k": None,
    },
    "greedy": {"do_sample": False, "temperature": 0.6, "top_p": 0.9, "top_k": 20},
    "not said how": {"temperature": 0.6},
    "sampling settings that keep all": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "typical_p": 1.0},
    "the whole context": {"max_length": 64},
    "ids and versions": {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "transformers_version": "5.0"},
}


@pytest.mark.parametrize(("generation", "expected"), SAID.values(), ids=SAID)
def test_what_is_passed_over_is_said_once(generation, expected):
    with pytest.warns(UserWarning) as caught:
        read_config(CONFIG, generation=generation)
    assert len(caught) == 1
    assert str(caught[0].message).startswith(BEGINNING + expected)


@pytest.mark.parametrize("generation", SILENT.values(), ids=SILENT)
def test_what_changes_nothing_is_not_said(generation):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_config(CONFIG, generation=generation) == read_config(CONFIG)


def test_old_files_have_them_in_config_json():
    with pytest.warns(UserWarning, match=r"^config\.json: not used unless you ask for it: repetition_penalty 1\.5, do"):
        read_config({**CONFIG, "repetition_penalty": 1.5, "do_sample": True, "top_k": 5})
    with warnings.catch_warnings():  # generation_config.json takes their place
        warnings.simplefilter("error")
        assert read_config({**CONFIG, "repetition_penalty": 1.5}, generation={}) == read_config(CONFIG)


def test_the_answer_is_greedy_all_the_same(tmp_path):
    plain = minillm.load(write_folder(tmp_path / "plain"))
    write_json(write_folder(tmp_path / "other") / "generation_config.json", {"repetition_penalty": 1.5})
    with pytest.warns(UserWarning, match="repetition_penalty 1.5"):
        other = minillm.load(tmp_path / "other")
    assert minillm.generate(plain, [3, 3], 8).tokens == minillm.generate(other, [3, 3], 8).tokens
