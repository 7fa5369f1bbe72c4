"""`minillm generate`: what it prints, in every form of output."""

import json
import math
import re
from argparse import Namespace
from pathlib import Path

import pytest
from model_folder import save_model_folder

import minillm
from minillm.cli.options import max_new_tokens_from
from minillm.generation import Timings
from minillm.support.printable import safe

KEYS = {
    "model", "weights", "prompt", "prompt_tokens", "tokens", "text", "finish_reason", "ttft_s", "tpot_s",
    "prefill_tokens_per_s", "decode_tokens_per_s", "kv_cache_bytes",
}  # fmt: skip
WARM = ("--temperature", 1, "--seed", 7, "--ignore-eos")


@pytest.fixture
def generate(call, model_folder):
    """`minillm generate` on the tiny model; a failure fails the test."""

    def run(*arguments):
        result = call("generate", "--model", model_folder, *arguments)
        assert (result.code, result.err) == (0, "")
        return result.out

    return run


@pytest.fixture
def record(generate):
    """The object that --json prints."""
    return lambda *arguments: json.loads(generate("--json", *arguments), parse_constant=pytest.fail)


def test_json_has_exactly_the_promised_keys(record, model_folder):
    found = record("hello", "--max-new-tokens", 5)
    assert found.keys() == KEYS
    assert (found["model"], found["prompt"], len(found["tokens"])) == (model_folder, "hello", 5)
    assert found["kv_cache_bytes"] > 0 and found["prefill_tokens_per_s"] > 0


def test_json_of_one_token_has_no_infinities(record):
    found = record("hello", "--max-new-tokens", 1)
    assert (found["tpot_s"], found["decode_tokens_per_s"]) == (0.0, 0.0)


def test_the_command_and_the_function_give_the_same(record, model_folder):
    model = minillm.load(model_folder)
    sampling = minillm.Sampling(temperature=1, seed=7, ignore_eos=True)
    messages = [{"role": "user", "content": "hello"}]
    assert record("hello", *WARM, "--max-new-tokens", 9)["tokens"] == (
        minillm.generate(model, messages, 9, sampling).tokens
    )
    assert record("hello", "--raw", *WARM, "--max-new-tokens", 9)["tokens"] == (
        minillm.generate(model, "hello", 9, sampling).tokens
    )


def test_raw_leaves_the_template_out(record):
    assert record("hello", "--raw", "--max-new-tokens", 1)["prompt_tokens"] == len("hello")
    assert record("hello", "--max-new-tokens", 1)["prompt_tokens"] > len("hello")


def test_no_cache_gives_the_same_tokens_and_reserves_nothing(record):
    naive, cached = (record("hello", *WARM, *extra, "--max-new-tokens", 20) for extra in (["--no-cache"], []))
    assert naive["tokens"] == cached["tokens"]
    assert naive["kv_cache_bytes"] == 0 < cached["kv_cache_bytes"]


def test_without_max_new_tokens_the_context_is_filled(record):
    found = record("hello", "--raw", "--ignore-eos")
    assert len(found["tokens"]) == 128 - len("hello") + 1
    assert found["finish_reason"] == "length"


def test_the_first_of_several_stops_ends_the_text(record):
    text = record("hello", "--raw", *WARM)["text"]
    early, late = text[10:12], text[20:22]
    found = record("hello", "--raw", *WARM, "--stop", late, "--stop", early)
    assert found["text"] == text[: min(text.index(early), text.index(late))]
    assert found["finish_reason"] == "stop"


def test_the_streamed_text_is_the_text_of_the_json(generate, record):
    arguments = ("hello", "--raw", "--temperature", 1, "--seed", 1, "--top-k", 40, "--max-new-tokens", 12)
    text, streamed = record(*arguments)["text"], generate(*arguments)
    assert streamed.startswith(safe(text) + "\n")


def test_the_table_follows_the_text(generate):
    table = generate("hello", "--max-new-tokens", 3)
    for name in ("prompt", "time to first token", "time per token", "prefill", "decode", "KV cache"):
        assert name in table
    assert "3 tokens, finished by length" in table


def test_logprobs_are_told_for_each_token(record):
    found = record("hello", "--logprobs", 3, "--max-new-tokens", 4)
    assert found.keys() == KEYS | {"logprobs"}
    assert [entry["token"] for entry in found["logprobs"]] == found["tokens"]
    for entry in found["logprobs"]:
        assert len(entry["best"]) == 3
        assert entry["best"][0] == [entry["token"], entry["logprob"]]  # greedy takes the best


def test_phases_show_tokens_prefill_and_each_step(generate, record):
    lines = generate("abc", "--raw", "--show-phases", "--ignore-eos", "--max-new-tokens", 3).splitlines()
    assert lines[0] == "Tokenize: 1 token: 'abc'=259"
    assert lines[1].startswith("Prefill: 1 token in one pass fill the KV cache")
    assert lines[2].startswith("Prefill gives: ")
    assert [line.split(":")[0] for line in lines[3:5]] == ["Decode step 1", "Decode step 2"]
    assert not lines[5].startswith("Decode")


@pytest.mark.parametrize("settings", [(), (*WARM, "--temperature", 9)], ids=["greedy", "sampled"])
def test_phases_show_the_token_and_the_next_three(generate, record, model_folder, settings, monkeypatch):
    """With their probabilities, which are those that --logprobs gives."""
    monkeypatch.setenv("COLUMNS", "200")  # no line is broken
    arguments = ("abc", "--raw", *settings, "--max-new-tokens", 4)
    lines = generate(*arguments, "--show-phases").splitlines()[2:6]
    tokenizer = minillm.load(model_folder).tokenizer

    def shown(token, logprob):
        return f"{tokenizer.token_text(token)!r} {math.exp(logprob):.1%}"

    for line, entry in zip(lines, record(*arguments, "--logprobs", 4)["logprobs"], strict=True):
        others = [(token, logprob) for token, logprob in entry["best"] if token != entry["token"]][:3]
        chosen = shown(entry["token"], entry["logprob"])
        assert line.endswith(f": {chosen}   then: {'  '.join(shown(*other) for other in others)}")


def test_phases_tell_how_many_passes_a_long_prompt_takes(call, endless_model_folder):
    command = ("generate", "b" * 1025, "--raw", "--show-phases", "--model", endless_model_folder, "--max-new-tokens", 1)
    assert "Prefill: 1025 tokens in 3 passes fill the KV cache" in " ".join(call(*command).out.split())


def test_phases_without_a_cache_do_not_speak_of_one(generate):
    shown = generate("abc", "--raw", "--show-phases", "--no-cache", "--max-new-tokens", 2)
    assert "give the first logits; no cache" in shown
    assert re.search(r"KV cache +none", shown)


def test_a_dash_reads_the_prompt_from_standard_input(finish, model_folder):
    """The line end that `echo` adds is left out; those inside the text stay."""
    command = ("generate", "-", "--model", model_folder, "--json", "--max-new-tokens", 1)
    result = finish(*command, input="hé\nllo\n".encode())
    assert json.loads(result.out)["prompt"] == "hé\nllo"


@pytest.mark.parametrize(("data", "expected"), [(b"", "prompt is empty"), (b"\xff\xfe", "expected text in UTF-8")])
def test_standard_input_that_is_no_prompt(finish, model_folder, data, expected):
    result = finish("generate", "-", "--model", model_folder, input=data)
    assert (result.code, result.out) == (2, "")
    assert expected in result.err and result.err.count("\n") == 1


def test_models_lists_what_can_be_loaded(call, tmp_path, monkeypatch):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    folders = {model["name"]: model["folder"] for model in json.loads(call("models", "--json").out)["models"]}
    assert list(folders) == ["story", "story-draft", "smollm2"]
    assert (Path(folders["story"]) / "config.json").is_file() and folders["smollm2"] == ""
    assert "ships with minillm" in call("models").out
    assert "not on disk: downloaded once, at first use" in call("models").out
    (tmp_path / "models" / "smollm2").mkdir(parents=True)
    assert f"on disk: {tmp_path / 'models' / 'smollm2'}" in call("models").out


def test_ignore_eos_goes_on_after_an_end_of_sequence_token(call, record, tmp_path):
    """The same model, whose most probable token now ends the sequence."""
    first, *_ = record("hello", "--max-new-tokens", 1)["tokens"]
    config = json.loads((save_model_folder(tmp_path) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"eos_token_id": [first]}))
    command = ("generate", "hello", "--model", tmp_path, "--json", "--max-new-tokens", 5)
    ended, went_on = (json.loads(call(*command, *extra).out) for extra in ([], ["--ignore-eos"]))
    assert (ended["tokens"], ended["finish_reason"]) == ([first], "eos")
    assert (went_on["tokens"][0], len(went_on["tokens"]), went_on["finish_reason"]) == (first, 5, "length")


@pytest.mark.parametrize(("room", "expected"), [(100_000, 256), (257, 256), (200, 200)])
def test_without_max_new_tokens_there_are_256_where_the_context_holds_them(call, room, expected):
    assert max_new_tokens_from(Namespace(max_new_tokens=None), room) == expected
    assert "default: 256, or what the context holds" in " ".join(call("generate", "--help").out.split())


def test_each_row_of_the_table_has_its_own_figure(generate, monkeypatch):
    """Half a second for the prompt's 5 tokens, 3/4 s until the first new one, then 2 s for two more."""
    timings = Timings(ttft_s=0.75, tpot_s=1.0, prefill_s=0.5, decode_s=2.0)
    monkeypatch.setattr("minillm.generation.Timings", lambda *_, **__: timings)
    lines = generate("hello", "--raw", "--max-new-tokens", 3).splitlines()
    table = dict(re.split(" {2,}", line.strip(), maxsplit=1) for line in lines[-7:])
    assert table["prompt"] == "5 tokens"
    assert (table["time to first token"], table["time per token"]) == ("750.0 ms", "1.00 s")
    assert (table["prefill"], table["decode"]) == ("10.0 tokens/s", "1.0 tokens/s")


def test_models_tells_how_many_millions_of_parameters(call):
    out = call("models").out
    for parameters in ("2.76 M parameters", "0.23 M parameters", "135 M parameters"):
        assert parameters in out


def test_an_empty_prompt_is_the_bos_alone_at_every_door(call, tmp_path):
    """Of a chat model too: a text of its own begins."""
    folder = save_model_folder(tmp_path / "m")
    names = {"bos_token": "a", "add_bos_token": True}
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | names
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    model = minillm.load(folder)
    assert model.tokenizer.chat_template
    (tmp_path / "lines").write_text('{"prompt": ""}\n')
    common = ("--model", folder, "--max-new-tokens", 3)
    called = json.loads(call("generate", "", "--json", *common).out)["tokens"]
    call("batch", tmp_path / "lines", "--out", tmp_path / "out", *common)
    answered = json.loads((tmp_path / "out").read_text())["tokens"]
    assert called == answered == minillm.generate(model, "", 3).tokens
