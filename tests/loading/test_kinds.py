"""A file, folder or model of another kind is refused with the name of the kind and the next step, at every door."""

import gzip
import io
import json
import pickle
import re
import struct
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from bundled import ROOT
from safetensors.numpy import save, save_file
from tiny_folder import CONFIG, INDEX, assert_refused, weights, write_folder, write_json, write_shards
from tiny_gguf import write_gguf

import minillm
from minillm.loading import open_config
from minillm.loading.model_kinds import GGUF_TYPES
from minillm.support.file_kinds import KINDS, LONGEST_KIND, find_kind


def archive(*names: str) -> bytes:
    """A zip archive with these files in it."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as file:
        for name in names:
            file.writestr(name, "x" * 100)
    return buffer.getvalue()


def packed() -> bytes:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w") as file:
        file.addfile(tarfile.TarInfo("model"))
    return buffer.getvalue()


def array() -> bytes:
    np.save(buffer := io.BytesIO(), np.ones(30))
    return buffer.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 538090408\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>" + b"x" * 600 + b"</body></html>"
FILES = {  # contents, and words that the message has
    "empty": (b"", ["it is empty", "download"]),
    "a Git LFS pointer": (POINTER, ["Git LFS pointer", "git lfs pull"]),
    "an old one": (POINTER.replace(b"git-lfs", b"hawser"), ["Git LFS pointer"]),
    "a git-annex pointer": (b"/annex/objects/SHA256E-s10--00.safetensors\n", ["git-annex", "git annex get"]),
    "a link to an annex": (b"../../.git/annex/objects/xx/yy/SHA256E-s10--00/SHA256E-s10--00", ["git-annex"]),
    "a web page": (PAGE, ["web page", "download"]),
    "a web page in lower case": (b"<html>\r\n<head>" + b" " * 50, ["web page"]),
    "the error of a store": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', ["web page"]),
    "the error of the hub": (b"Entry not found", ["error message of a server"]),
    "another one": (b"Invalid username or password.", ["error message of a server", "HF_TOKEN"]),
    "GGML": (b"lmgg" + b"\1\0\0\0" * 20, ["before GGUF", "use a GGUF file"]),
    "GGMF": (b"fmgg" + b"\1\0\0\0" * 20, ["before GGUF"]),
    "GGJT": (b"tjgg" + b"\3\0\0\0" * 20, ["before GGUF"]),
    "a llamafile": (b"MZqFpD='\n" + b"\0" * 100, ["llamafile", "unzip"]),
    "a PyTorch file": (archive("model/data.pkl", "model/data/0"), ["PyTorch pickle", "never opened", "convert"]),
    "a PyTorch file named otherwise": (archive("archive/version", "archive/data.pkl"), ["PyTorch pickle"]),
    "a pickle": (pickle.dumps({"a": 1} | dict.fromkeys(map(str, range(30)))), ["a pickle", "never opened"]),
    "a pickle of protocol 2": (pickle.dumps([1] * 30, 2), ["a pickle"]),
    "NumPy": (array(), ["NumPy"]),
    "NumPy arrays": (archive("w.npy"), ["NumPy"]),
    "zip": (archive("model.safetensors"), ["zip", "unpack"]),
    "gzip": (gzip.compress(POINTER), ["archive", "unpack"]),
    "tar": (packed(), ["archive"]),
    "zstd": (b"\x28\xb5\x2f\xfd" + b"\1" * 40, ["archive"]),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, ["HDF5", "convert"]),
    "ONNX": (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0" + b"\1" * 40, ["ONNX"]),
    "a saved model of TensorFlow": (b"\x08\x01\x12\xd4\x9a\x01" + b"\1" * 40, ["TensorFlow"]),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + b"\1" * 40, ["TensorFlow Lite"]),
    "SentencePiece": (b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\2\n\x0c\n\x03<s>", ["SentencePiece", "tokenizer.json"]),
    "text in UTF-16": ('{"model_type": "llama", "x": "y"}'.encode("utf-16"), ["UTF-8"]),
    "text with a byte order mark": (b"\xef\xbb\xbf" + json.dumps(CONFIG).encode(), ["byte order mark"]),
    "zeros": (b"\0" * 1000, ["zeros", "did not finish"]),
    "big-endian GGUF": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + b"\0" * 50, ["big-endian", "gguf-convert-endian"]),
    "GGUF of version 1": (b"GGUF" + struct.pack("<IIQ", 1, 0, 0) + b"\0" * 50, ["first version"]),
    "GGUF": (b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + b"\0" * 50, ["a GGUF file", "pass the path"]),
    "safetensors": (save(weights()), ["a safetensors file", "pass its folder"]),
    "JSON": (json.dumps({"a": 1}).encode(), ["JSON text"]),
}  # fmt: skip
DOORS = {  # the file in a folder, and the kinds that it may be, or be mistaken for
    "model.safetensors": {"safetensors", "JSON"},
    "config.json": {"JSON"},
    "tokenizer.json": {"JSON", "GGUF", "GGUF of version 1", "big-endian GGUF", "safetensors", "zeros"},
    "x.gguf": {"GGUF"},
    "model.bin": {"GGUF"},
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_is_told_by_its_first_bytes(kind):
    contents, words = FILES[kind]
    found = find_kind(contents[:LONGEST_KIND])
    assert all(word in f"it is {found.what}: {found.next}" for word in words)


def test_each_row_of_the_table_has_a_file_here():
    assert {find_kind(contents[:LONGEST_KIND]) for contents, _ in FILES.values()} == set(KINDS)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_names_the_kind_and_the_next_step(door, tmp_path):
    folder = write_folder(tmp_path)
    (folder / door).unlink(missing_ok=True)
    for kind in FILES.keys() - DOORS[door]:
        contents, words = FILES[kind]
        (folder / door).write_bytes(contents)
        words = ["it is", *words] if contents.strip() else words
        with pytest.raises(ValueError) as caught:
            minillm.load(folder / door if door in ("x.gguf", "model.bin") else folder)
        message = str(caught.value)
        assert "\n" not in message and all(word in message for word in words), (kind, message)
        assert message.startswith(door), message


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer_config.json", "chat_template.jinja", INDEX])
@pytest.mark.parametrize("kind", ["a Git LFS pointer", "a web page", "the error of the hub"])
def test_what_only_stands_for_a_file_is_refused_in_every_side_file(name, kind, tmp_path):
    folder = write_folder(tmp_path)
    if name == INDEX:
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(FILES[kind][0])
    assert_refused(folder, rf"^{name}: .*it is ({'|'.join(FILES[kind][1][:1])}|the error|a)")


# Folders.

FOLDERS = {  # the files instead of the weights, and what the message says
    "shards without their index": (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
                                   r"'model-00001-of-00002\.safetensors', one of several shards: .*index\.json"),
    "an index without its shards": ([INDEX], "found .*, the index of shards: download it again"),
    "another name": (["model.fp16.safetensors"], r"'model\.fp16\.safetensors', .*rename it to model\.safetensors"),
    "PyTorch": (["pytorch_model.bin"], "'pytorch_model.bin', a pickle: .* never opened: .*convert it"),
    "a checkpoint of PyTorch": (["model.pth"], "a pickle"),
    "Keras": (["tf_model.h5"], "a file of another framework"),
    "Flax": (["flax_model.msgpack"], "a file of another framework"),
    "ONNX": (["onnx/model.onnx"], "'onnx/model.onnx', a file of another framework"),
    "the format of its makers": (["consolidated.00.pth", "params.json"], "in the format of its makers: .*Hugging Face"),
    "a download": (["model.safetensors.incomplete"], "a download that did not finish: .*hf download"),
    "a download of hf": ([".cache/huggingface/download/abc.incomplete"], "a download that did not finish"),
    "a download of a browser": (["model.safetensors.crdownload"], "a download that did not finish"),
    "GGUF": (["model-q4.gguf"], r"'model-q4\.gguf', a GGUF file: pass its path"),
    "LoRA": (["adapter_config.json", "adapter_model.safetensors"], "a LoRA adapter: merge it into its base"),
}  # fmt: skip
NO_MODEL = {  # the files instead of config.json
    "LoRA": (["adapter_config.json", "adapter_model.safetensors"], "a LoRA adapter: merge it into its base model"),
    "Diffusers": (["model_index.json", "unet/config.json"], "a Diffusers pipeline, which makes pictures"),
    "sentences": (["modules.json", "config_sentence_transformers.json"], "which makes embeddings"),
    "the hub's cache": (["snapshots/0123/config.json", "refs/main", "blobs/ab"],
                        "'snapshots/0123', a model in the hub's cache: pass that folder, or hf:org/name"),
    "the hub's cache without files": (["refs/main", "blobs/ab"], "in the hub's cache without its files"),
    "checkpoints": (["checkpoint-500/config.json"], "'checkpoint-500/config.json', .* in a folder below: pass that"),
    "the format of its makers": (["params.json", "consolidated.00.pth"], "in the format of its makers"),
    "GGUF": (["a.gguf"], r"or pass the file .*/a\.gguf itself"),
    "shards alone": (["model-00001-of-00002.safetensors"], "one of several shards"),
    "one below": (["sub/config.json", "sub/model.safetensors"], "'sub/config.json', .* in a folder below: pass that"),
    "shards below": (["sub/config.json", "sub/model-00001-of-00002.safetensors"], "in a folder below: pass"),
    "a pickle below": (["sub/config.json", "sub/pytorch_model.bin"], "in a folder below: pass that folder"),
}  # fmt: skip


def put(folder, names: list[str]):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps({"weight_map": {"a": "model-1-of-2.safetensors"}}))
    return folder


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_without_weights_is_told_by_its_files(case, tmp_path):
    names, message = FOLDERS[case]
    folder = write_folder(tmp_path)
    (folder / "model.safetensors").unlink()
    assert_refused(
        put(folder, names),
        rf"model.*safetensors is missing.*{message.removeprefix('model-1-of-2.safetensors is missing')}",
    )


@pytest.mark.parametrize("case", NO_MODEL)
def test_a_folder_without_a_config_is_told_by_its_files(case, tmp_path):
    names, message = NO_MODEL[case]
    assert_refused(put(tmp_path / "models--org--name", names), rf"config\.json is missing; .*{message}")


def test_a_huge_folder_is_not_listed_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("minillm.loading.folder_kinds.MOST_NAMES", 10)
    put(tmp_path, [f"{number}.txt" for number in range(50)])
    assert_refused(tmp_path, "expected a folder in Hugging Face layout$")


@pytest.mark.parametrize(("name", "without"), [("tokenizer.model", "tokenizer.json"), ("vocab.json", "tokenizer.json")])
def test_a_model_with_a_tokenizer_of_another_kind_takes_ids_and_says_why(name, without, tmp_path):
    folder = write_folder(tmp_path)
    (folder / without).unlink()
    (folder / name).write_bytes(FILES["SentencePiece"][0])
    model = minillm.load(folder)
    assert minillm.generate(model, [3, 1], 1).tokens
    with pytest.raises(ValueError, match=rf"has no tokenizer\.json.*there is {name}.*save_pretrained") as caught:
        minillm.generate(model, "a", 1)
    assert "\n" not in str(caught.value)


# Models.

MODELS = {
    "an encoder": ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "'BertForMaskedLM' is an encoder"),
    "a classifier": ({"architectures": ["LlamaForSequenceClassification"]}, "is a classifier"),
    "embeddings": ({"architectures": ["LlamaModel"]}, "without an output head"),
    "translation": ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "with an encoder"),
    "pictures": ({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}, "several media"),
    "GPT-2": ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "architecture that is not supported"),
    "an old one": ({"model_type": "xlm", "architectures": ["XLMWithLMHeadModel"]}, "that is not supported"),
    "another": ({"model_type": "gemma", "architectures": ["GemmaForCausalLM"]}, "architecture that is not supported"),
    "LoRA": ({"model_type": None, "peft_type": "LORA"}, "it is the config of a LoRA adapter: merge it"),
    "Diffusers": ({"model_type": None, "_class_name": "UNet2DConditionModel"}, "a Diffusers model, .*language model"),
    "pictures, without a class": ({"model_type": "llava", "architectures": None}, "type that is not supported: llama"),
    "an error": ({"model_type": None, "error": "Repository not found"}, "the error message of a server"),
    "GPTQ": ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised by 'gptq': use the model"),
    "MLX": ({"quantization": {"bits": 4, "group_size": 64}}, "quantised by 'MLX': use the model"),
    "MLX, said twice": ({"quantization_config": {"bits": 4, "group_size": 64}}, "quantised by 'MLX'"),
}  # fmt: skip


@pytest.mark.parametrize("case", MODELS)
def test_a_model_of_another_kind_is_told_by_its_config(case, tmp_path):
    changes, message = MODELS[case]
    assert_refused(write_changed(tmp_path, changes), rf"^config\.json: .*{message}")


def write_changed(folder, changes: dict):
    write_json(write_folder(folder) / "config.json", CONFIG | changes)
    return folder


NAME = "model.layers.0.self_attn.q_proj"
TENSORS = {
    "GPTQ": ({f"{NAME}.qweight": np.ones((1, 8), np.int32), f"{NAME}.scales": np.ones((1, 8), np.float16)}, "GPTQ"),
    "MLX": ({f"{NAME}.weight": np.ones((8, 1), np.uint32), f"{NAME}.scales": np.ones((8, 1), np.float16)}, "MLX"),
    "bitsandbytes": ({f"{NAME}.weight": np.ones((32, 1), np.uint8), f"{NAME}.weight.absmax": np.ones(1, np.float32)},
                     "bitsandbytes"),
    "8 bits": ({f"{NAME}.weight": np.ones((8, 8), np.int8)}, "is of type I8; .* quantised weights"),
    "LoRA": ({f"{NAME}.lora_A.weight": np.ones((2, 8), np.float32)}, "a LoRA adapter"),
}  # fmt: skip


@pytest.mark.parametrize("case", TENSORS)
def test_weights_of_another_kind_are_told_by_the_names_of_tensors(case, tmp_path):
    more, message = TENSORS[case]
    folder, tensors = write_folder(tmp_path), weights()
    del tensors[f"{NAME}.weight"]
    save_file(tensors | more, folder / "model.safetensors")
    assert_refused(folder, message)


@pytest.mark.parametrize("name", [*GGUF_TYPES, "clip", "t5encoder", "adapter_config.json", "Braille", "Yi"])
def test_the_page_of_models_lists_what_is_refused(name):
    assert re.search(rf"(`|\b){re.escape(name)}(`|\b)", (ROOT / "docs" / "models.md").read_text(encoding="utf-8"))


# What is not needed is not looked at.


def test_a_config_needs_neither_weights_nor_tokenizer(tmp_path):
    folder = write_folder(tmp_path)
    config = replace(minillm.load(folder).config, bos_token_id=None, eos_token_ids=())
    write_json(folder / "config.json", CONFIG | {"bos_token_id": "a", "eos_token_id": 99_999})
    (folder / "model.safetensors").write_bytes(POINTER)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (folder / name).write_bytes(PAGE)
    assert open_config(folder) == open_config(folder / "config.json") == config
    for file in folder.glob("*"):
        if file.name != "config.json":
            file.unlink()
    assert open_config(folder) == config


def test_the_config_of_a_gguf_needs_neither_data_nor_tokenizer(tmp_path):
    odd = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a"], "tokenizer.ggml.merges": ["no pair"]}
    write_gguf(tmp_path / "x.gguf", CONFIG, weights(), metadata=odd)
    whole = (tmp_path / "x.gguf").read_bytes()
    (tmp_path / "x.gguf").write_bytes(whole[: whole.index(b"output_norm.weight") + 200])
    assert open_config(tmp_path / "x.gguf").hidden_size == CONFIG["hidden_size"]


@pytest.mark.parametrize("name", ["sha256-0123", "model", "model.bin", "x.GGUF.1"])
def test_a_gguf_is_told_by_its_first_bytes(name, tmp_path):
    write_gguf(tmp_path / name, CONFIG, weights())
    assert minillm.load(tmp_path / name).config == open_config(tmp_path / name)


def test_a_text_that_nobody_reads_may_be_in_any_encoding(tmp_path):
    write_gguf(tmp_path / "x.gguf", CONFIG, weights(), metadata={"general.name": "Mod?le", "general.tags": ["?", "b"]})
    text = (tmp_path / "x.gguf").read_bytes()
    (tmp_path / "x.gguf").write_bytes(text.replace(b"Mod?le", "Modèle".encode("latin-1")).replace(b"\0?", b"\0\xe8"))
    assert minillm.load(tmp_path / "x.gguf").name == "x.gguf"


def test_a_text_that_is_read_must_be_utf_8(tmp_path):
    write_gguf(tmp_path / "x.gguf", CONFIG, weights())
    text = (tmp_path / "x.gguf").read_bytes()
    place = text.index(b"general.architecture") + 32
    (tmp_path / "x.gguf").write_bytes(text[:place] + b"\xe8" + text[place + 1 :])
    assert_refused(tmp_path / "x.gguf", r"^x\.gguf: general\.architecture is b'\\xe8lama'; expected one of")


def test_shards_and_one_file_have_the_same_config(tmp_path):
    write_shards(tmp_path)
    (tmp_path / INDEX).unlink()
    assert open_config(tmp_path).num_hidden_layers == CONFIG["num_hidden_layers"]
