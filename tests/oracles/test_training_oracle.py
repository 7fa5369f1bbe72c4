"""Gradients and optimizer against torch, in float64.

transformers computes norms and rotations in float32 whatever the model's dtype, so the network is written once more
here, in torch, and held to the specification before it is differentiated.
"""

import dataclasses

import numpy as np
import pytest
import torch
from training.trainable import random_parameters

from minillm import reference
from minillm.layers import rope_cos_sin
from minillm.training.losses import cross_entropy
from minillm.training.network import Network
from minillm.training.optimizer import AdamW, Schedule
from minillm.training.parameters import llama_config

CONFIG = llama_config(31, 24, 20, 3, 6, 2, 256)


def torch_logits(config, weights, tokens):
    """[time] -> [time, vocab]; weights are leaves of the graph."""
    time, d = len(tokens), config.head_dim
    cosine, sine = (torch.from_numpy(part) for part in rope_cos_sin(np.arange(time), config.rope, d))

    def norm(x, weight):
        return torch.nn.functional.rms_norm(x, x.shape[-1:], weight, config.rms_norm_eps)

    def turn(x):  # [time, heads, d]
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cosine - b * sine, b * cosine + a * sine], dim=-1)

    x = weights["model.embed_tokens.weight"][tokens]
    for number in range(config.num_hidden_layers):
        part = {n.split(".", 3)[3]: w for n, w in weights.items() if n.startswith(f"model.layers.{number}.")}
        h = norm(x, part["input_layernorm.weight"])
        q, k, v = ((h @ part[f"self_attn.{name}_proj.weight"].T).reshape(time, -1, d) for name in "qkv")
        q, k, v = (t.transpose(0, 1) for t in (turn(q), turn(k), v))
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + mixed.transpose(0, 1).reshape(time, -1) @ part["self_attn.o_proj.weight"].T
        h = norm(x, part["post_attention_layernorm.weight"])
        gate = torch.nn.functional.silu(h @ part["mlp.gate_proj.weight"].T)
        x = x + (gate * (h @ part["mlp.up_proj.weight"].T)) @ part["mlp.down_proj.weight"].T
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return norm(x, weights["model.norm.weight"]) @ head.T


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_equal_autograd(tied):
    config = dataclasses.replace(CONFIG, tie_word_embeddings=tied)
    parameters = random_parameters(config, 0)
    leaves = {n: torch.from_numpy(values.copy()).requires_grad_() for n, values in parameters.tensors.items()}
    rows = np.random.default_rng(1).integers(0, 31, (2, 141))  # longer than one tile of queries
    logits = torch.stack([torch_logits(config, leaves, row) for row in rows[:, :-1]])
    specified = reference.forward(config, parameters.tensors, rows[0, :20])
    np.testing.assert_allclose(logits[0, :20].detach().numpy(), specified, rtol=0, atol=1e-10)
    torch.nn.functional.cross_entropy(logits.reshape(-1, 31), torch.from_numpy(rows[:, 1:].ravel())).backward()

    network, gradients = Network(parameters, 2, 140), parameters.like()
    ours, saved = network.forward(rows[:, :-1])
    network.backward(cross_entropy(ours, rows[:, 1:].ravel(), 2 * 140)[1], saved, gradients)
    for name, gradient in gradients.tensors.items():
        expected = leaves[name].grad.numpy()
        assert np.abs(gradient - expected).max() < 1e-5 * np.abs(expected).max(), name


def test_adamw_equals_torch():
    schedule = Schedule(steps=30, learning_rate=0.05, warmup_steps=1, last_rate=1.0, clip=0.5)
    generator = np.random.default_rng(0)
    start, gradients = generator.normal(size=5), generator.normal(size=(30, 5))
    weights, optimizer = start.copy(), AdamW(schedule, np.ones(5))
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    torch_adamw = torch.optim.AdamW([theirs], lr=0.05, betas=(0.9, 0.95), weight_decay=0.05)
    for gradient in gradients:
        optimizer.update(weights, gradient.copy())
        theirs.grad = torch.from_numpy(gradient.copy())
        torch.nn.utils.clip_grad_norm_([theirs], 0.5)
        torch_adamw.step()
    np.testing.assert_allclose(weights, theirs.detach().numpy(), rtol=1e-5)
