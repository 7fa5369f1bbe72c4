"""Models that transformers itself makes and saves give the same logits and the same greedy tokens here."""

import json

import numpy as np
import pytest
import torch
from random_models import REAL_DEVICE
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import minillm

SIZES = dict(
    vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
    num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64, "rope_theta": 500_000.0,
}  # fmt: skip
SLIDING = ["sliding_attention", "full_attention", "sliding_attention"]
MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES)),
    "llama, every head its own keys": (LlamaForCausalLM, LlamaConfig(**SIZES | {"num_key_value_heads": 6})),
    "llama, tied": (LlamaForCausalLM, LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "llama, own head_dim": (LlamaForCausalLM, LlamaConfig(**SIZES, head_dim=12)),
    "llama, biases": (LlamaForCausalLM, LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True)),
    "llama 3 rope": (LlamaForCausalLM, LlamaConfig(**SIZES, rope_parameters=LLAMA3)),
    "llama, linear rope": (
        LlamaForCausalLM,
        LlamaConfig(**SIZES, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}),
    ),
    "mistral, window": (MistralForCausalLM, MistralConfig(**SIZES, sliding_window=7, head_dim=8)),
    "mistral, no window": (MistralForCausalLM, MistralConfig(**SIZES, sliding_window=None)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SIZES)),
    "qwen2, window in the last layer": (
        Qwen2ForCausalLM,
        Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=7, max_window_layers=2),
    ),
    "qwen2, layer_types": (
        Qwen2ForCausalLM,
        Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=7, layer_types=SLIDING),
    ),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=16)),
    "qwen3, head_dim by default": (Qwen3ForCausalLM, Qwen3Config(**SIZES)),
    "qwen3, biases and layer_types": (
        Qwen3ForCausalLM,
        Qwen3Config(**SIZES, head_dim=16, attention_bias=True, use_sliding_window=True, sliding_window=7,
                    layer_types=SLIDING),
    ),
}  # fmt: skip
BACKEND = "cupy" if REAL_DEVICE else "numpy"
PROMPT = np.random.default_rng(0).integers(0, 97, 40).tolist()


def make(name, dtype=torch.float32):
    """A model with random weights; its norms are not 1 and its biases not 0, or nobody would miss them."""
    kind, config = MODELS[name]
    model = kind(config).eval()
    for weight in model.parameters():
        width = weight.shape[-1] if weight.ndim == 2 else 1
        values = torch.randn_like(weight) * 1.2 / width**0.5
        weight.data = (values if weight.ndim == 2 else 1 + 0.3 * values).to(dtype)
    return model.to(dtype)


def logits_of(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()  # [tokens, vocab]


def greedy_of(model, tokens, count):
    with torch.no_grad():
        ids = torch.tensor([tokens])
        for _ in range(count):
            ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)  # no cache here either
    return ids[0, len(tokens) :].tolist()


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_64_greedy_tokens(name, tmp_path):
    oracle = make(name)
    oracle.save_pretrained(tmp_path)
    model = minillm.load(tmp_path, BACKEND)
    found = model.ops.to_host(minillm.forward(model, PROMPT))
    np.testing.assert_allclose(found, logits_of(oracle, PROMPT), atol=1e-4, rtol=0)
    greedy = minillm.Sampling(ignore_eos=True)
    # In float64 on both sides: random weights give near ties, which the rounding of float32 would decide.
    precise = minillm.load(tmp_path, BACKEND, "float64")
    assert minillm.generate(precise, PROMPT, 64, greedy).tokens == greedy_of(oracle.double(), PROMPT, 64)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["llama", "llama, tied", "qwen3"])
def test_half_precision_files(name, dtype, tmp_path):
    """The stored numbers are widened: the oracle computes with the same ones in float32."""
    make(name, dtype).save_pretrained(tmp_path)
    oracle = MODELS[name][0].from_pretrained(tmp_path, dtype=torch.float32)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    model = minillm.load(tmp_path)
    np.testing.assert_allclose(minillm.forward(model, PROMPT), logits_of(oracle, PROMPT), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["llama", "mistral, window"])
def test_sharded_files(name, tmp_path):
    oracle = make(name)
    oracle.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    model = minillm.load(tmp_path)
    np.testing.assert_allclose(minillm.forward(model, PROMPT), logits_of(oracle, PROMPT), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_files_as_transformers_4_wrote_them(name, tmp_path):
    """rope_theta and rope_scaling instead of rope_parameters, and no layer_types."""
    oracle = make(name)
    oracle.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope if rope["rope_type"] != "default" else None
    config["torch_dtype"] = config.pop("dtype")
    if "layer_types" not in name:
        config.pop("layer_types", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = minillm.load(tmp_path)
    np.testing.assert_allclose(minillm.forward(model, PROMPT), logits_of(oracle, PROMPT), atol=1e-4, rtol=0)


def test_end_of_sequence_ids_come_from_both_files(tmp_path):
    oracle = make("llama")
    oracle.generation_config.eos_token_id = [5, 2, 9]
    oracle.save_pretrained(tmp_path)
    assert set(minillm.load(tmp_path).config.eos_token_ids) == {2, 5, 9}
