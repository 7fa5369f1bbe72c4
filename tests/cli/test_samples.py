"""`minillm generate --n`: several answers to one prompt."""

import json

import pytest

import minillm
from minillm.cli.samples import InOrder

WARM = ("--temperature", 1, "--seed", 7, "--max-new-tokens", 9)


@pytest.fixture
def generate(call, model_folder):
    def run(*arguments):
        result = call("generate", "hello", "--model", model_folder, *arguments)
        assert (result.code, result.err) == (0, "")
        return result.out

    return run


def alone(generate, seed, *arguments):
    return json.loads(generate("--json", *WARM, "--seed", seed, *arguments))


@pytest.mark.parametrize("extra", [(), ("--raw",), ("--ignore-eos", "--logprobs", 2)], ids=str)
def test_each_is_what_its_seed_gives_alone(generate, extra):
    found = json.loads(generate("--json", "--n", 3, *WARM, *extra))
    for number, sample in enumerate(found["samples"]):
        expected = alone(generate, 7 + number, *extra)
        assert sample.pop("seed") == 7 + number
        assert [round(entry["logprob"], 4) for entry in sample.pop("logprobs", [])] == (
            [round(entry["logprob"], 4) for entry in expected.get("logprobs", [])]
        )
        assert sample == {key: expected[key] for key in ("tokens", "text", "finish_reason")}
    assert (found["prompt"], found["prompt_tokens"]) == ("hello", expected["prompt_tokens"])
    assert list(found) == [
        "model", "weights", "prompt", "prompt_tokens", "samples", "seconds", "tokens_per_s", "kv_cache_bytes",
        "kv_cache_bytes_unshared",
    ]  # fmt: skip


def test_the_prompt_lies_in_memory_once(call, model_folder):
    prompt, warm = "b" * 70, ("--raw", "--n", 4, "--temperature", 1, "--ignore-eos", "--max-new-tokens", 3, "--json")
    found = json.loads(call("generate", prompt, "--model", model_folder, *warm).out)
    block = 2 * 2 * 2 * 16 * 4 * 4  # keys and values, layers, heads, tokens, head_dim, bytes
    assert found["kv_cache_bytes"] == (4 + 4) * block  # four full blocks of the prompt, then one for each answer
    assert found["kv_cache_bytes_unshared"] == 4 * 5 * block


def test_the_texts_are_shown_one_after_another(generate):
    out = generate("--n", 3, *WARM, "--raw")
    expected = [alone(generate, seed, "--raw")["text"] for seed in (7, 8, 9)]
    blocks = out.split("--- ")[1:]
    for number, (block, text) in enumerate(zip(blocks, expected, strict=True)):
        assert block.startswith(f"{number + 1} of 3, seed {7 + number} ---\n{minillm.support.printable.safe(text)}\n")
    assert "5 tokens; 7 prefilled for all answers, 15 without sharing" in " ".join(out.split())


def test_how_often_the_prompt_was_computed_is_not_glossed_over(generate):
    """The first answer ends with its first token, before another could share its blocks."""
    out = generate("--n", 3, "--raw", "--max-new-tokens", 1)
    assert "5 tokens; 15 prefilled for all answers, 15 without sharing" in " ".join(out.split())


def test_a_piece_is_written_when_it_is_its_samples_turn(capsys):
    class Sample:
        completion = type("", (), {"sampling": minillm.Sampling()})

    first, second = Sample(), Sample()
    display = InOrder([first, second])
    written = []
    for sample, text, is_last in [(first, "a", False), (second, "x", True), (first, "b", False), (first, "c", True)]:
        display.take(sample, text, is_last)
        written.append(capsys.readouterr().out)
    assert written == ["--- 1 of 2 ---\na", "", "b", "c\n--- 2 of 2 ---\nx\n"]


def test_equal_answers_are_explained(generate):
    assert "temperature 0 makes all answers the same" in " ".join(generate("--n", 2).split())


def test_one_answer_is_shown_as_ever(generate):
    assert "tokens" in json.loads(generate("--json", "--n", 1))
    assert "--- 1" not in generate("--n", 1)
