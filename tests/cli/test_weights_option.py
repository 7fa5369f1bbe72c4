"""`--weights`: every command that loads a model keeps its matrices in the format that was asked for."""

import json

import pytest
from fake_device import FakeDevice
from test_misuse import assert_refused

import minillm
from minillm.backends.cupy import CuPy
from minillm.backends.plain import Plain
from minillm.evidence.exactness import logits_hash
from minillm.loading import open_checkpoint
from minillm.loading.load import weights_bytes
from minillm.quantization import CLASSES

FORMATS = sorted(CLASSES)
LINE = '{"prompt": "abc", "max_new_tokens": 3}'


def expected_tokens(folder, weights, prompt="abc", **options):
    model = minillm.load(folder, weights=weights, **options)
    return minillm.generate(model, [{"role": "user", "content": prompt}], 6).tokens


@pytest.mark.parametrize("weights", FORMATS)
def test_generate(call, model_folder, weights):
    record = json.loads(call("generate", "abc", "--model", model_folder, "--max-new-tokens", 6, "--json",
                             "--weights", weights).out)  # fmt: skip
    assert (record["weights"], record["tokens"]) == (weights, expected_tokens(model_folder, weights))


def test_the_draft_is_in_the_same_format(call, model_folder, monkeypatch):
    given = []
    monkeypatch.setattr(
        "minillm.speculative.SpeculativeGeneration",
        lambda model, drafter, *_: given.append((model.weights, drafter.weights)) or iter(()),
    )
    with pytest.raises(Exception, match="output"):  # the stand-in has nothing to print
        call("generate", "abc", "--model", model_folder, "--weights", "int8", "--speculative", "--draft", model_folder)
    assert given == [("int8", "int8")]


def test_batch(call, model_folder, tmp_path):
    (tmp_path / "in.jsonl").write_text(LINE)
    record = json.loads(call("batch", tmp_path / "in.jsonl", "--out", tmp_path / "out.jsonl", "--model", model_folder,
                             "--json", "--weights", "int4").out)  # fmt: skip
    answer = json.loads((tmp_path / "out.jsonl").read_text())
    assert record["weights"] == "int4"
    assert answer["tokens"] == expected_tokens(model_folder, "int4")[:3]


def test_chat(call, model_folder, monkeypatch):
    lines = iter(["abc"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines, "/exit"))
    record = json.loads(call("chat", "--model", model_folder, "--json", "--max-new-tokens", 6, "--weights", "int8").out)
    model = minillm.load(model_folder, weights="int8")
    answer = minillm.generate(model, [{"role": "user", "content": "abc"}], 6).text
    assert (record["weights"], record["messages"][-1]["content"]) == ("int8", answer)


@pytest.mark.parametrize("weights", FORMATS)
def test_exactness(call, model_folder, weights):
    arguments = ("exactness", "--model", model_folder, "--weights", weights, "--prompt", "abc abc")
    model = minillm.load(model_folder, "exact", weights=weights)
    expected = logits_hash(minillm.forward(model, model.tokenizer.encode("abc abc")))
    assert call(*arguments, "--hash-only").out == f"{expected}\n"
    record = json.loads(call(*arguments, "--max-new-tokens", 2, "--json").out)
    assert (record["weights"], record["sha256"]) == (weights, expected)
    assert f"weights {weights}, exact backend" in " ".join(call(*arguments, "--max-new-tokens", 2).out.split())


def test_formats_differ_and_stored_is_what_the_file_has(call, model_folder):
    printed = [
        call("exactness", "--model", model_folder, "--weights", weights, "--prompt", "abc abc", "--hash-only").out
        for weights in ("float32", "stored", *FORMATS)
    ]
    assert printed[0] == printed[1] and len(set(printed)) == 4  # the file is float32


@pytest.mark.parametrize("weights", ["int8", "int4", "stored"])
def test_a_gpu_refuses_what_it_cannot_read(call, model_folder, weights, monkeypatch):
    monkeypatch.setattr("minillm.loading.load.get_backend", lambda name: CuPy(FakeDevice()))
    expected = f"the cupy backend: weights is '{weights}'; expected one of float32, bfloat16"
    assert_refused(call("generate", "x", "--model", model_folder, "--backend", "cupy", "--weights", weights), expected)


WEIGHTS, EMBEDDING = 2_755_008, 2048 * 192  # of story; its embedding is the head too
BYTES = {name: WEIGHTS * each for name, each in {"float32": 4, "bfloat16": 2, "int8": 34 / 32, "stored": 2}.items()}
BYTES["int4"] = (WEIGHTS - EMBEDDING) * 20 / 32 + EMBEDDING * 34 / 32


@pytest.mark.parametrize("weights", BYTES)
def test_too_little_memory_names_the_format(weights, monkeypatch):
    assert weights_bytes(open_checkpoint("story"), Plain(), "float32", weights) == BYTES[weights]
    monkeypatch.setattr("minillm.loading.load._memory", lambda: BYTES[weights] - 1)
    expected = rf"^story: not enough memory for its weights: 0\.0 GB needed as {weights}; use a smaller model$"
    with pytest.raises(ValueError, match=expected):
        minillm.load("story", weights=weights)
    monkeypatch.setattr("minillm.loading.load._memory", lambda: BYTES[weights])
    assert minillm.load("story", weights=weights).weights == weights
