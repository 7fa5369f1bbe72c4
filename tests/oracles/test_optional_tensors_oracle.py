"""Files that their config describes wrongly: transformers makes the same model of them."""

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import minillm

SIZES = dict(
    vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=6,
    num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def without(tensors, *ends):
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(ends)}


CASES = {
    "a head that differs": ({"tie_word_embeddings": True}, lambda t: t | {HEAD: t[EMBEDDING].flip(0).contiguous()}),
    "a copy of the head": ({"tie_word_embeddings": True}, lambda t: t | {HEAD: t[EMBEDDING].clone()}),
    "the head alone": ({"tie_word_embeddings": True}, lambda t: without(t, EMBEDDING) | {HEAD: t[EMBEDDING]}),
    "no common beginning": ({}, lambda t: {name.removeprefix("model."): tensor for name, tensor in t.items()}),
    "no bias of the output": ({"attention_bias": True}, lambda t: without(t, "o_proj.bias")),
    "a bias of q alone": ({"attention_bias": True}, lambda t: without(t, "k_proj.bias", "v_proj.bias", "o_proj.bias")),
    "a bias of one layer": ({"mlp_bias": True}, lambda t: without(t, "1.mlp.up_proj.bias")),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_file_holds_counts_as_in_transformers(case, tmp_path):
    says, change = CASES[case]
    model = LlamaForCausalLM(LlamaConfig(**SIZES, **says))
    with torch.no_grad():
        for name, values in model.named_parameters():
            values.copy_(torch.randn_like(values) if name.endswith("bias") else values * 3)
    model.save_pretrained(tmp_path)
    save_file(change(load_file(tmp_path / "model.safetensors")), tmp_path / "model.safetensors", {"format": "pt"})
    with torch.no_grad():
        expected = AutoModelForCausalLM.from_pretrained(tmp_path)(torch.tensor([TOKENS])).logits[0].numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = minillm.load(tmp_path, dtype="float64")
    np.testing.assert_allclose(minillm.forward(ours, TOKENS), expected, rtol=0, atol=2e-5)
