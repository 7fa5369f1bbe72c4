"""The lines of a batch."""

import dataclasses

import pytest

from minillm import Sampling
from minillm.serving.batch_files.prompts import OPTIONS, parse_line, read_lines

WARM = Sampling(temperature=0.5, seed=3)

BAD = {
    "no JSON": (b"hello", "not valid JSON"),
    "half": (b'{"prompt": "a"', "not valid JSON"),
    "no UTF-8": (b'{"prompt": "\xff"}', "expected text in UTF-8"),
    "a list": (b'["a"]', "expected an object such as"),
    "a text": (b'"a"', "expected an object such as"),
    "no prompt": (b"{}", 'expected one of "prompt" and "messages"'),
    "both": (b'{"prompt": "a", "messages": []}', 'expected one of "prompt" and "messages"'),
    "a number": (b'{"prompt": 3}', "prompt: expected one text, or a list of token ids"),
    "texts": (b'{"prompt": ["a", "b"]}', "prompt: expected one text, or a list of token ids"),
    "no text": (b'{"prompt": []}', "prompt: expected one text, or a list of token ids"),
    "a list too deep": (b'{"prompt": [[["a"]]]}', "prompt: expected one text, or a list of token ids"),
    "null alone": (b'{"prompt": null}', 'expected one of "prompt" and "messages"'),
    "two names of one field": (
        b'{"prompt": "a", "max_tokens": 3, "max_new_tokens": 4}',
        "max_new_tokens is given twi",
    ),
    "several answers": (b'{"prompt": "a", "n": 2}', "n is 2, which minillm does not have; leave it out"),
    "a stream": (b'{"prompt": "a", "stream": true}', "stream is True, which minillm does not have"),
    "another penalty": (b'{"prompt": "a", "frequency_penalty": 0.5}', "frequency_penalty is 0.5, which minillm does"),
    "tools": (b'{"prompt": "a", "tools": [{}]}', "tools is [{}], which minillm does not have"),
    "JSON alone": (
        b'{"prompt": "a", "response_format": {"type": "json_object"}}',
        "response_format is {'type': 'js",
    ),
    "many logprobs": (b'{"prompt": "a", "logprobs": 21}', "logprobs is 21; expected an integer from 0 to 20"),
    "a model by number": (b'{"prompt": "a", "model": 3}', "model: expected a name"),
    "half a surrogate": (b'{"prompt": "a", "stop": "\\ud800"}', "expected text that UTF-8 can encode"),
    "another address": (b'{"url": "/v1/embeddings", "body": {"input": "a"}}', "url is '/v1/embeddings'; expected /v1/"),
    "another method": (b'{"method": "GET", "body": {"prompt": "a"}}', "method is 'GET'; expected 'POST'"),
    "a body that is text": (b'{"body": "a"}', "body is 'a'; expected an object of fields"),
    "a field next to the body": (
        b'{"body": {"prompt": "a"}, "seed": 1}',
        "unknown name 'seed'; expected only custom",
    ),
    "no messages": (b'{"messages": []}', "messages: expected a list of at least one"),
    "messages of another form": (b'{"messages": ["a"]}', "messages: expected role and content"),
    "a deep message": (
        b'{"messages": [{"role": "user", "content": "a", "x": ' + b"[" * 900 + b"]" * 900 + b"}]}",
        "messages: expected at most 100 levels",
    ),
    "an image": (
        b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
        "content is type 'image_",
    ),
    "a misspelt name": (b'{"prompt": "a", "temprature": 3}', "'temprature'; did you mean temperature? (expected some"),
    "an unknown name": (b'{"prompt": "a", "rate": 3}', "unknown name 'rate' (expected some of prompt, messages, id"),
    "a name twice": (b'{"prompt": "a", "prompt": "b"}', "duplicate key"),
    "a wrong temperature": (b'{"prompt": "a", "temperature": -1}', "temperature is -1; expected a finite number"),
    "an endless temperature": (b'{"prompt": "a", "temperature": Infinity}', "temperature is inf; expected a finite"),
    "no new tokens": (b'{"prompt": "a", "max_new_tokens": 0}', "max_new_tokens is 0; expected an integer"),
    "half a token": (b'{"prompt": "a", "max_new_tokens": 1.5}', "max_new_tokens is 1.5; expected an integer"),
    "an empty stop": (b'{"prompt": "a", "stop": ""}', "none of them empty"),
    "an id that is a list": (b'{"prompt": "a", "id": []}', "id: expected a text or an integer"),
    "nested deep": (b"[" * 100_000, "nested too deeply"),
    "too long": (b'{"prompt": "a"' + b" " * 4_000_000 + b"}", "4000015 bytes; expected at most 4000000"),
}


@pytest.mark.parametrize(("line", "expected"), BAD.values(), ids=BAD)
def test_bad_lines(line, expected):
    with pytest.raises(ValueError) as caught:
        parse_line(1, line, None, WARM)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_line_says_holds_for_it():
    line = parse_line(4, b'{"prompt": "a", "id": "x", "max_new_tokens": 5, "seed": 9, "stop": ["."]}\r', 7, WARM)
    assert (line.number, line.id, line.prompt, line.max_new_tokens) == (4, "x", "a", 5)
    assert line.sampling == Sampling(temperature=0.5, seed=9, stop=["."])


def test_what_it_does_not_say_holds_for_the_batch():
    line = parse_line(4, b'{"messages": [{"role": "user", "content": "a"}]}', 7, WARM)
    assert (line.id, line.max_new_tokens, line.sampling) == (None, 7, WARM)
    assert line.prompt == [{"role": "user", "content": "a"}]


def parsed(text):
    return parse_line(1, text.encode(), 7, WARM)


@pytest.mark.parametrize("name", [*OPTIONS, "id", "model", "n", "stream", "top_logprobs", "tools", "user", "speed"])
def test_null_is_not_given(name):
    assert parsed(f'{{"prompt": "a", "{name}": null}}') == parsed('{"prompt": "a"}')


NEUTRAL = (
    '"n": 1, "stream": false, "logprobs": false, "frequency_penalty": 0.0, "presence_penalty": 0, "logit_bias": {}, '
    '"response_format": {"type": "text"}, "tools": [], "tool_choice": "auto", "user": "me", "best_of": 1, "echo": false'
)


def test_values_that_change_nothing():
    assert parsed(f'{{"prompt": "a", {NEUTRAL}}}') == parsed('{"prompt": "a"}')


OF_OTHER_PROGRAMS = (
    '"do_sample": true', '"typical_p": 1.0', '"mirostat": 0, "mirostat_tau": 5.0, "mirostat_eta": 0.1', '"top_h": null',
    '"use_beam_search": false, "length_penalty": 1.0, "early_stopping": false', '"no_repeat_ngram_size": 0',
    '"num_beams": 1', '"best_of": 1', '"echo": false', '"suffix": ""', '"suffix": null', '"logit_bias": []',
    '"min_tokens": 0', '"min_length": 0', '"ignore_eos": false', '"stop_token_ids": []', '"bad_words": []',
    '"skip_special_tokens": true', '"tfs_z": 1', '"xtc_probability": 0.0, "xtc_threshold": 0.1', '"grammar": ""',
    '"dry_multiplier": 0.0, "dry_base": 1.75', '"dynatemp_range": 0', '"cache_prompt": true', '"raw": false',
    '"repeat_last_n": -1', '"include_stop_str_in_output": false', '"keep_alive": "5m"', '"use_cache": true',
    '"encoder_repetition_penalty": 1.0, "guidance_scale": 1, "epsilon_cutoff": 0.0', '"n_probs": 0',
)  # fmt: skip


@pytest.mark.parametrize("fields", OF_OTHER_PROGRAMS)
def test_values_of_other_programs_that_change_nothing(fields):
    assert parsed(f'{{"prompt": "a", {fields}}}') == parsed('{"prompt": "a"}')


@pytest.mark.parametrize("name", ["typical_p", "mirostat", "use_beam_search", "min_tokens", "tfs_z", "num_beams"])
def test_values_of_other_programs_that_change_the_answer(name):
    with pytest.raises(ValueError, match=f"^{name} is 0.5, which minillm does not have; leave it out"):
        parsed(f'{{"prompt": "a", "{name}": 0.5}}')


def test_do_sample_and_the_temperature_say_the_same():
    greedy = dataclasses.replace(WARM, temperature=0)
    assert parsed('{"prompt": "a", "do_sample": false}').sampling == greedy
    assert parsed('{"prompt": "a", "do_sample": false, "temp": 0}').sampling == greedy
    with pytest.raises(ValueError, match=r"do_sample is False, but temperature is 0\.7; leave one of them out"):
        parsed('{"prompt": "a", "do_sample": false, "temp": 0.7}')
    with pytest.raises(ValueError, match="do_sample is True, but temperature is 0; leave one of them out"):
        parsed('{"prompt": "a", "do_sample": true, "temperature": 0}')
    with pytest.raises(ValueError, match=r"do_sample is True, but temperature is 0\.0; give a temperature above 0"):
        parse_line(1, b'{"prompt": "a", "do_sample": true}', 7, Sampling())
    with pytest.raises(ValueError, match="do_sample is 'no'; expected true or false"):
        parsed('{"prompt": "a", "do_sample": "no"}')


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n_predict", "num_predict"])
def test_other_names(name):
    assert parsed(f'{{"prompt": "a", "{name}": 5}}').max_new_tokens == 5
    assert parsed(f'{{"prompt": "a", "{name}": 5, "max_new_tokens": 5}}').max_new_tokens == 5


@pytest.mark.parametrize(
    ("written", "sampling"),
    [
        ('"stop": "x"', {"stop": ["x"]}),
        ('"stop": ["x", "y"]', {"stop": ["x", "y"]}),
        ('"top_k": -1', {"top_k": None}),
        ('"top_p": 0', {"top_p": 0}),
        ('"top_p": 1', {"top_p": 1}),
        ('"repeat_penalty": 1.5', {"repetition_penalty": 1.5}),
        ('"logprobs": 3', {"logprobs": 3}),
        ('"logprobs": true', {"logprobs": 0}),
        ('"logprobs": true, "top_logprobs": 4', {"logprobs": 4}),
        ('"top_logprobs": 4', {"logprobs": 4}),
    ],
)
def test_settings_of_clients(written, sampling):
    assert parsed(f'{{"prompt": "a", {written}}}').sampling == dataclasses.replace(WARM, **sampling)


def test_a_line_of_openai():
    body = '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "a"}], "max_tokens": 5}'
    line = parsed(f'{{"custom_id": "r1", "method": "POST", "url": "/v1/chat/completions", "body": {body}}}')
    assert (line.id, line.model, line.max_new_tokens) == ("r1", "gpt-4o-mini", 5)
    assert line.prompt == [{"role": "user", "content": "a"}]


def test_token_ids_are_a_prompt():
    assert parsed('{"prompt": [3, 4]}').prompt == [3, 4]


def test_a_list_of_one_prompt_is_this_prompt():
    assert parsed('{"prompt": ["a"]}') == parsed('{"prompt": "a"}')
    assert parsed('{"prompt": [[3, 4]]}').prompt == [3, 4]


def test_blank_lines_are_passed_over_and_counted(tmp_path):
    (tmp_path / "p").write_bytes(b"\xef\xbb\xbfa\r\n\n  \nb\n\nc")
    assert read_lines(str(tmp_path / "p")) == [(1, b"a\r"), (4, b"b"), (6, b"c")]


def test_no_more_lines_than_the_memory_can_take(tmp_path):
    (tmp_path / "p").write_bytes(b"\n" * 1_000_000 + b"a")
    assert read_lines(str(tmp_path / "p")) == [(1_000_001, b"a")]
    (tmp_path / "p").write_bytes(b"\n" * 1_000_001)
    with pytest.raises(ValueError, match="p: expected at most 1000000 lines, found more; split the input"):
        read_lines(str(tmp_path / "p"))


def test_a_device_is_no_file_of_prompts():
    with pytest.raises(OSError, match="expected an ordinary file"):
        read_lines("/dev/zero")
