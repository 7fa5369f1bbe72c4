"""A tiny model folder in Hugging Face layout, written with the `safetensors` library, for tests to damage."""

import json
from pathlib import Path

import numpy as np
import pytest
from random_models import random_checkpoint
from safetensors.numpy import save_file
from tiny_tokenizer import VOCAB_SIZE, definition

import minillm
from minillm.loading.read_config import read_config

CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": VOCAB_SIZE, "hidden_size": 8,
    "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
INDEX = "model.safetensors.index.json"


def write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")


def weights(config: dict = CONFIG, seed: int = 0) -> dict[str, np.ndarray]:
    """Random float32 weights for this config.json."""
    tensors = random_checkpoint(read_config(config), seed).tensors
    return {name: tensor.read().astype(np.float32) for name, tensor in tensors.items()}


def write_folder(folder: Path, config: dict = CONFIG) -> Path:
    """config.json, tokenizer.json and one model.safetensors."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer.json", definition())
    save_file(weights(config), folder / "model.safetensors")
    return folder


def write_shards(folder: Path) -> dict[str, str]:
    """The same model in two shards and an index; returns the index's weight_map."""
    write_folder(folder)
    (folder / "model.safetensors").unlink()
    tensors = weights()
    weight_map = {name: f"model-{1 + i % 2}-of-2.safetensors" for i, name in enumerate(sorted(tensors))}
    for file in set(weight_map.values()):
        save_file({name: tensors[name] for name in tensors if weight_map[name] == file}, folder / file)
    write_json(folder / INDEX, {"metadata": {"total_size": 1}, "weight_map": weight_map})
    return weight_map


def assert_refused(path: Path, expected: str) -> None:
    """Loading fails with one line that says what was expected."""
    with pytest.raises((ValueError, OSError), match=expected) as caught:
        minillm.load(path)
    assert "\n" not in str(caught.value)


def assert_loaded_or_refused(path: Path) -> bool:
    """Whether the model loads; if not, the error is a one-line ValueError or OSError, or the test fails."""
    try:
        minillm.load(path)
    except (ValueError, OSError) as problem:
        assert type(problem) is ValueError or isinstance(problem, OSError), type(problem)
        assert str(problem) and "\n" not in str(problem)
        return False
    return True
