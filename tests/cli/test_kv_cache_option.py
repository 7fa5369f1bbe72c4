"""`--kv-cache int8`: every command that takes it gives the text of the Python function, and says what it stores."""

import json
import os

import pytest

import minillm

WARM = ("--temperature", 1, "--seed", 7, "--ignore-eos", "--max-new-tokens", 9)
SAMPLING = minillm.Sampling(temperature=1, seed=7, ignore_eos=True)
MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture
def record(call, model_folder):
    def run(*arguments):
        result = call("generate", "hello", "--model", model_folder, "--json", *WARM, *arguments)
        assert (result.code, result.err) == (0, "")
        return json.loads(result.out)

    return run


def bytes_per_token(model_folder):
    config = minillm.load(model_folder).config
    return 2 * config.num_hidden_layers * config.num_key_value_heads * (config.head_dim + 4)


def test_generate_reserves_bytes_in_int8(record, model_folder):
    found, out = record("--kv-cache", "int8"), minillm.generate(
        minillm.load(model_folder), MESSAGES, 9, SAMPLING, cache_dtype="int8"
    )  # fmt: skip
    assert (found["tokens"], found["kv_cache_bytes"]) == (out.tokens, out.kv_cache_bytes)
    assert found["kv_cache_bytes"] == (found["prompt_tokens"] + 8) * bytes_per_token(model_folder)
    assert found["kv_cache_bytes"] < record()["kv_cache_bytes"] / 1.5


def test_without_a_cache_the_rounding_is_the_same(record):
    exact = ("--backend", "exact", "--kv-cache", "int8")
    found = record(*exact, "--no-cache")
    assert (found["tokens"], found["kv_cache_bytes"]) == (record(*exact)["tokens"], 0)


def test_samples_and_drafts(record, model_folder):
    size = bytes_per_token(model_folder)
    samples = record("--kv-cache", "int8", "--n", 2)
    assert samples["kv_cache_bytes"] % (16 * size) == 0 < samples["kv_cache_bytes"]
    drafted = record("--kv-cache", "int8", "--speculative", "--draft", "skip", "--k", 2, "--temperature", 0)
    assert drafted["tokens"] == record("--kv-cache", "int8", "--temperature", 0)["tokens"]
    assert drafted["kv_cache_bytes"] == (drafted["prompt_tokens"] + 8) * size


def test_the_table_says_int8(call, model_folder):
    assert " in int8, reserved for " in call("generate", "hello", "--model", model_folder, "--kv-cache", "int8").out


def test_batch_knows_which_caches_an_answer_had(call, model_folder, tmp_path):
    """Answers of float caches are not those of int8 caches; and the same command resumes."""
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    prompts.write_text('{"prompt": "hello", "max_new_tokens": 5}\n')
    command = ("batch", prompts, "--out", out, "--model", model_folder, "--json")
    first = json.loads(call(*command, "--kv-cache", "int8").out)
    again = json.loads(call(*command, "--kv-cache", "int8").out)
    assert (first["answered"], again["answered"], again["answered_before"]) == (1, 0, 1)
    assert call(*command).code == 2
    expected = minillm.generate(minillm.load(model_folder), MESSAGES, 5, cache_dtype="int8")
    assert json.loads(out.read_text())["tokens"] == expected.tokens


def test_batch_compares_schedules_in_int8(call, model_folder, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "hello", "max_new_tokens": 5}\n{"prompt": "abc", "max_new_tokens": 9}\n')
    command = ("batch", prompts, "--compare", "--model", model_folder, "--json", "--backend", "exact")
    assert json.loads(call(*command, "--kv-cache", "int8").out)["same_tokens"] is True


def test_chat_takes_it(finish, model_folder):
    command = ("chat", "--model", model_folder, "--json", "--max-new-tokens", 4, "--kv-cache", "int8")
    result = finish(*command, input=b"hello\n")
    expected = minillm.generate(minillm.load(model_folder), MESSAGES, 4, cache_dtype="int8").text
    assert json.loads(result.out)["messages"][-1]["content"] == expected


@pytest.mark.parametrize("command", [["generate", "x"], ["chat"], ["batch", os.devnull, "--out", "answers.jsonl"]])
def test_another_format_is_one_line_before_the_model_is_read(call, command):
    result = call(*command, "--model", "/nowhere", "--kv-cache", "int4")
    assert (result.code, result.out) == (2, "")
    assert result.err == "minillm: --kv-cache is 'int4'; expected int8, or leave it out\n"


def test_estimates_take_it(call):
    """Llama 2 7B has 32 layers of 32 heads of 128: 132 bytes in int8, 256 in float16, 512 in float32."""
    command = ("estimate", "--model", "llama-2-7b", "--batch", 10, "--json")
    sizes = {
        name: json.loads(call(*command, *arguments).out)
        for name, arguments in {
            "default": [], "int8": ["--kv-cache", "int8"], "float32": ["--kv-cache", "float32"],
        }.items()
    }  # fmt: skip
    assert [sizes[name]["kv_cache"] for name in sizes] == ["float16", "int8", "float32"]
    for name, each in (("default", 256), ("int8", 132), ("float32", 512)):
        assert sizes[name]["kv_cache_bytes"] == 10 * 599 * 2 * 32 * 32 * each
    assert sizes["int8"]["largest_batch"] > 1.9 * sizes["default"]["largest_batch"]
    assert sizes["int8"]["decode_bytes"] < sizes["default"]["decode_bytes"]
    refused = call("estimate", "--kv-cache", "q4_0")
    assert refused.err == "minillm: kv_cache is 'q4_0'; expected one of float32, float16, bfloat16, int8\n"
