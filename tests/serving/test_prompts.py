"""The lines of a batch."""

import dataclasses

import pytest

from minillm import Sampling
from minillm.serving.batch_files.prompts import OPTIONS, parse_line, read_lines

WARM = Sampling(temperature=0.5, seed=3)

BAD = {  # the message, and the lines that get it
    "not valid JSON": [b'hello', b'{"prompt": "a"'],
    "expected text in UTF-8": [b'{"prompt": "\xff"}'],
    "expected an object such as": [b'["a"]', b'"a"'],
    'expected one of "prompt" and "messages"': [b'{}', b'{"prompt": "a", "messages": []}', b'{"prompt": null}'],
    "prompt: expected one text, or a list of token ids": [
        b'{"prompt": 3}', b'{"prompt": ["a", "b"]}', b'{"prompt": []}', b'{"prompt": [[["a"]]]}',
    ],
    "max_new_tokens is given twice": [b'{"prompt": "a", "max_tokens": 3, "max_new_tokens": 4}'],
    "n is 2, which minillm does not have; leave it out": [b'{"prompt": "a", "n": 2}'],
    "stream is True, which minillm does not have": [b'{"prompt": "a", "stream": true}'],
    "frequency_penalty is 0.5, which minillm does not have": [b'{"prompt": "a", "frequency_penalty": 0.5}'],
    "tools is [{}], which minillm does not have": [b'{"prompt": "a", "tools": [{}]}'],
    "response_format is {'type': 'json_object'}": [b'{"prompt": "a", "response_format": {"type": "json_object"}}'],
    "logprobs is 21; expected an integer from 0 to 20": [b'{"prompt": "a", "logprobs": 21}'],
    "model: expected a name": [b'{"prompt": "a", "model": 3}'],
    "expected text that UTF-8 can encode": [b'{"prompt": "a", "stop": "\\ud800"}'],
    "url is '/v1/embeddings'; expected /v1/": [b'{"url": "/v1/embeddings", "body": {"input": "a"}}'],
    "method is 'GET'; expected 'POST'": [b'{"method": "GET", "body": {"prompt": "a"}}'],
    "body is 'a'; expected an object of fields": [b'{"body": "a"}'],
    "unknown name 'seed'; expected only custom_id": [b'{"body": {"prompt": "a"}, "seed": 1}'],
    "messages: expected a list of at least one": [b'{"messages": []}'],
    "messages: expected role and content": [b'{"messages": ["a"]}'],
    "messages: expected at most 100 levels": [
        b'{"messages": [{"role": "user", "content": "a", "x": ' + b"[" * 900 + b"]" * 900 + b"}]}",
    ],
    "content is type 'image_url'": [b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}'],
    "'temprature'; did you mean temperature? (expected some": [b'{"prompt": "a", "temprature": 3}'],
    "unknown name 'rate' (expected some of prompt, messages, id": [b'{"prompt": "a", "rate": 3}'],
    "duplicate key": [b'{"prompt": "a", "prompt": "b"}'],
    "temperature is -1; expected a finite number": [b'{"prompt": "a", "temperature": -1}'],
    "temperature is inf; expected a finite": [b'{"prompt": "a", "temperature": Infinity}'],
    "max_new_tokens is 0; expected an integer": [b'{"prompt": "a", "max_new_tokens": 0}'],
    "max_new_tokens is 1.5; expected an integer": [b'{"prompt": "a", "max_new_tokens": 1.5}'],
    "none of them empty": [b'{"prompt": "a", "stop": ""}'],
    "id: expected a text or an integer": [b'{"prompt": "a", "id": []}'],
    "nested too deeply": [b"[" * 100_000],
    "4000015 bytes; expected at most 4000000": [b'{"prompt": "a"' + b" " * 4_000_000 + b"}"],
}  # fmt: skip


@pytest.mark.parametrize("expected", BAD)
def test_bad_lines(expected):
    for line in BAD[expected]:
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
