"""Invalid input of every kind: exit status 2, and one line on stderr that says what was expected."""

import argparse
import json
import re
import shutil

import numpy as np
import pytest
from model_folder import save_model_folder
from safetensors.numpy import load_file, save_file

from minillm.cli.main import make_parser

GENERATE = {
    "no prompt": ([], "the following arguments are required: prompt"),
    "an empty prompt without BOS": ([""], "the prompt is empty, and the tokenizer has no BOS to begin with"),
    "an empty raw prompt": (["", "--raw"], "the prompt is empty, and the tokenizer has no BOS to begin with"),
    "a prompt with a dash": (["---"], "are required: prompt; put -- before a text that begins with a dash"),
    "a prompt beyond the context": (["a" * 200], "more than the model's context of 128"),
    "bytes that are not UTF-8": (["\udcff"], "the prompt: expected text in UTF-8"),
    "an unknown option": (["x", "--speed", "9"], "unrecognized arguments: --speed 9"),
    "NaN temperature": (["x", "--temperature", "nan"], "temperature is nan; expected a finite number"),
    "negative temperature": (["x", "--temperature", "-1"], "temperature is -1.0; expected a finite number"),
    "endless temperature": (["x", "--temperature", "inf"], "temperature is inf; expected a finite number"),
    "temperature in words": (["x", "--temperature", "hot"], "argument --temperature: invalid float value: 'hot'"),
    "negative top-p": (["x", "--top-p", "-0.1"], "top_p is -0.1; expected a number from 0 to 1"),
    "top-p 1.5": (["x", "--top-p", "1.5"], "top_p is 1.5; expected a number from 0 to 1"),
    "NaN top-p": (["x", "--top-p", "nan"], "top_p is nan; expected"),
    "min-p 2": (["x", "--min-p", "2"], "min_p is 2.0; expected"),
    "negative top-k": (["x", "--top-k", "-2"], "top_k is -2; expected"),
    "half a top-k": (["x", "--top-k", "1.5"], "argument --top-k: invalid int value"),
    "no penalty": (["x", "--repetition-penalty", "0"], "repetition_penalty is 0.0; expected"),
    "negative seed": (["x", "--seed", "-1"], "seed is -1; expected"),
    "a seed of 5000 digits": (["x", "--seed", "9" * 5000], "argument --seed: invalid int value"),
    "no new tokens": (["x", "--max-new-tokens", "0"], "--max-new-tokens is 0; expected"),
    "fewer than none": (["x", "--max-new-tokens", "-1"], "--max-new-tokens is -1; expected"),
    "more than fit": (["x", "--raw", "--max-new-tokens", "129"], "from 1 to 128"),
    "far more than fit": (["x", "--max-new-tokens", "9" * 60], "from 1 to"),
    "an empty stop": (["x", "--stop", ""], "expected a string or a list of strings, none of them empty"),
    "a stop that is not text": (["x", "--stop", "\udcff"], "expected text that UTF-8 can encode"),
    "a forgotten stop": (["x", "--stop", "--json"],
                         "argument --stop: expected one argument; if --json is its text, write --stop=--json"),
    "an option of another command as a stop": (["x", "--stop", "--rps"], "if --rps is its text, write --stop=--rps"),
    "a stop without a text at the end": (["x", "--stop"], "argument --stop: expected one argument (see"),
    "a number after a stop": (["x", "--stop", "---", "--seed", "--json"], "--seed: expected one argument (see"),
    "a number that is an option": (["x", "--seed", "--json"], "argument --seed: expected one argument (see"),
    "OpenAI's name": (["x", "--max-tokens", "5"], "--max-tokens 5; did you mean --max-new-tokens? (see minillm gen"),
    "llama.cpp's name": (["x", "-n", "5"], "-n 5; did you mean --max-new-tokens?"),
    "Ollama's name": (["x", "--num_predict=5"], "--num_predict=5; did you mean --max-new-tokens?"),
    "another name of the model": (["x", "-m", "y"], "did you mean --model?"),
    "underscores": (["x", "--top_k", "5"], "--top_k 5; did you mean --top-k?"),
    "a slip": (["x", "--temprature", "1"], "--temprature 1; did you mean --temperature?"),
    "a prompt by option": (["-p", "x"], "unrecognized arguments: -p; -p is not needed, the prompt stands alone"),
    "logprobs for people": (["x", "--logprobs", "2"], "--logprobs is shown in JSON only"),
    "negative logprobs": (["x", "--json", "--logprobs", "-2"], "logprobs is -2; expected"),
    "more logprobs than tokens": (["x", "--json", "--logprobs", "999"], "logprobs is 999; expected"),
    "phases in JSON": (["x", "--json", "--show-phases"], "--show-phases is a display"),
    "no answer": (["x", "--n", "0"], "from 1 to 1000"),
    "several without a cache": (["x", "--n", "2", "--no-cache"], "leave out --show-phases, --no-cache and --spec"),
    "phases of several": (["x", "--n", "2", "--show-phases"], "leave out --show-phases, --no-cache and --spec"),
    "several guess": (["x", "--n", "2", "--speculative"], "leave out --show-phases, --no-cache and --spec"),
    "an unknown backend": (["x", "--backend", "tpu"], "expected one of"),
    "an unknown dtype": (["x", "--dtype", "half"], "dtype is 'half'; expected one of float32, float64"),
    "a format as a dtype": (["x", "--dtype", "int4"],
                            "for weights in int4 use weights='int4' (--weights int4)"),
    "an unknown format": (["x", "--weights", "int9"],
                          "weights is 'int9'; expected one of float32, bfloat16, int8, int4, stored"),
}  # fmt: skip
MODELS = {
    "no such model": ("no-such-model", "no model 'no-such-model': expected story, story-draft, smollm2, a folder"),
    "no name": ("", "expected a name, a folder"),
    "a name with a NUL": ("a\0b", "expected a name, a folder"),
    "no hub name": ("hf:../../etc", "expected hf:org/name"),
    "escape sequences": ("\x1b[2J", "no model '\\x1b[2J'"),
}
OTHERS = {
    "an unknown command": (["sing"], "invalid choice: 'sing'"),
    "an unknown option of models": (["models", "--all"], "unrecognized arguments: --all"),
    "an argument of chat": (["chat", "hello"], "unrecognized arguments: hello (see minillm chat --help)"),
    "a prompt without quotes": (["generate", "a", "b"], "unrecognized arguments: b (see minillm generate --help)"),
    "an option of no command": (["--speed"], "unrecognized arguments: --speed (see minillm --help)"),
    "no such peer": (["bench", "--against", "nosuch"], "no engine 'nosuch' to measure against; expected transformers,"),
    "no such backend": (["bench", "--backend", "nosuch"], "expected one of"),
    "no rounds": (["bench", "--rounds", "0"], "--rounds is 0; expected"),
    "no context": (["bench", "--context", "-5"], "--context is '-5'; expected"),
    "a format of bench": (
        ["bench", "--weights", "int3"],
        "the numpy backend: --weights is 'int3'; expected one of float32",
    ),
}


def assert_refused(result, expected):
    assert result.code == 2
    assert result.out == ""
    assert expected in result.err
    assert result.err.startswith("minillm")
    assert result.err.count("\n") == 1 and result.err.endswith("\n")
    assert "\x1b" not in result.err and len(result.err) < 600


@pytest.mark.parametrize(("arguments", "expected"), GENERATE.values(), ids=GENERATE)
def test_generate_refuses(call, model_folder, arguments, expected):
    assert_refused(call("generate", "--model", model_folder, *arguments), expected)


@pytest.mark.parametrize("text", ["---", "--", "-", "-END-", "--end", "-1"])
def test_a_stop_may_begin_with_a_dash(call, model_folder, text, monkeypatch):
    given = []
    monkeypatch.setattr("minillm.cli.generate.sampling_from", lambda options, logprobs: given.extend(options.stop))
    call("generate", "x", "--stop", text, "--model", model_folder, "--max-new-tokens", 1)
    call("generate", "x", f"--stop={text}", "--model", model_folder, "--max-new-tokens", 1)
    assert given == [text, text]


def test_after_two_dashes_everything_is_text(call, model_folder):
    record = json.loads(call("generate", "--json", "--model", model_folder, "--max-new-tokens", 1, "--", "--stop").out)
    assert record["prompt"] == "--stop"


@pytest.mark.parametrize(("name", "expected"), MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("command", [["generate", "x"], ["chat"], ["bench"], ["exactness"]], ids=lambda c: c[0])
def test_every_command_refuses_a_model_that_is_not_there(call, command, name, expected):
    assert_refused(call(*command, "--model", name), expected)


@pytest.mark.parametrize(("arguments", "expected"), OTHERS.values(), ids=OTHERS)
def test_other_misuse(call, arguments, expected, monkeypatch):
    """No model is fetched for it."""
    monkeypatch.setattr("minillm.loading.registry.REGISTRY", {})
    monkeypatch.setenv("MINILLM_CACHE", "/nowhere")
    assert_refused(call(*arguments), expected)


def test_no_command_shows_the_help(call):
    result = call()
    assert (result.code, result.out) == (2, "")
    for command in ("generate", "chat", "batch", "models", "exactness", "bench", "--version"):
        assert command in result.err


@pytest.mark.parametrize(
    "command",
    [
        *([], ["generate"], ["chat"], ["batch"], ["models"], ["bench"], ["exactness"], ["lesson"]),
        *(["exercise"], ["course"], ["estimate"], ["claims"], ["papers"], ["zoo"]),
    ],
)
def test_every_command_has_help(call, command):
    result = call(*command, "--help")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("usage: minillm")


def options_of(parser):
    """All options of a command and of its own commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from options_of(command)
        else:
            yield action


def test_the_help_tells_the_defaults():
    told = [(option, re.search(r"\(default ([^)]+)\)", option.help or "")) for option in options_of(make_parser())]
    told = [(option, found[1]) for option, found in told if found and option.default is not None]
    assert len(told) > 15
    for option, default in told:
        assert type(option.default)(default) == option.default, option.option_strings


def test_the_version(call):
    result = call("--version")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("minillm") and result.out.count("\n") == 1


def test_a_folder_without_config(call, tmp_path):
    assert_refused(call("generate", "x", "--model", tmp_path), "config.json is missing")


def test_a_file_that_is_no_model(call, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert_refused(call("generate", "x", "--model", tmp_path / "notes.txt"), "is a single file; expected the folder")


def test_a_cut_gguf(call, tmp_path):
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03")
    assert_refused(call("generate", "x", "--model", tmp_path / "cut.gguf"), "cut.gguf")


@pytest.mark.parametrize("damage", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize(
    "extra", [[], ["--json"], ["--no-cache"], ["--temperature", "1"], ["--kv-cache", "int8"]], ids=" ".join
)
def test_weights_that_are_no_numbers(call, tmp_path, damage, extra):
    """NumPy's own warnings on the way there stay away."""
    file = save_model_folder(tmp_path) / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.up_proj.weight"][0] = damage
    save_file(tensors, file)
    assert_refused(call("generate", "x", "--model", tmp_path, *extra), "its weights overflow, or are damaged")


def test_a_folder_without_tokenizer(call, tmp_path, model_folder):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(f"{model_folder}/{name}", tmp_path)
    assert_refused(call("generate", "x", "--model", tmp_path), "no tokenizer.json")


def test_chat_refuses_a_model_without_template(call, raw_model_folder):
    assert_refused(call("chat", "--model", raw_model_folder), "has no chat template; use `minillm generate")


def test_generate_continues_raw_where_there_is_no_template(call, raw_model_folder):
    record = json.loads(call("generate", "abc", "--model", raw_model_folder, "--json", "--max-new-tokens", 1).out)
    assert record["prompt_tokens"] == 1  # "abc" is one token of the tiny tokenizer


def test_an_empty_template_file_is_no_template(call, tmp_path):
    folder = save_model_folder(tmp_path / "model")
    (folder / "chat_template.jinja").write_text("")
    record = json.loads(call("generate", "abc", "--model", folder, "--json", "--max-new-tokens", 1).out)
    assert record["prompt_tokens"] == 1
    assert_refused(call("chat", "--model", folder), "has no chat template; use `minillm generate")


def test_too_little_memory_is_one_line(call, model_folder, monkeypatch):
    def load(*_):
        raise MemoryError

    monkeypatch.setattr("minillm.loading.load.load", load)
    refused = call("generate", "x", "--model", model_folder)
    assert_refused(refused, "minillm: not enough memory for this model or context; use a smaller one")
