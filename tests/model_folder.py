"""A tiny random model saved as a folder in Hugging Face layout: what a user points `--model` at."""

import dataclasses
import json
from pathlib import Path

import numpy as np
from random_models import random_checkpoint
from safetensors.numpy import save_file
from test_checks import CONFIG
from tiny_tokenizer import CHATML, VOCAB_SIZE, tiny_tokenizer

CONTEXT = 128
TEXT_CONFIG = dataclasses.replace(CONFIG, vocab_size=VOCAB_SIZE, max_position_embeddings=CONTEXT, eos_token_ids=(1,))


def save_model_folder(folder: Path, chat_template: str | None = CHATML, context: int = CONTEXT) -> Path:
    """Write config.json, model.safetensors and the tokenizer; about 30 kB."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = random_checkpoint(TEXT_CONFIG, seed=3)
    tensors = {name: tensor.values.astype(np.float32) for name, tensor in checkpoint.tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "vocab_size": TEXT_CONFIG.vocab_size, "hidden_size": TEXT_CONFIG.hidden_size,
        "intermediate_size": TEXT_CONFIG.intermediate_size, "num_hidden_layers": TEXT_CONFIG.num_hidden_layers,
        "num_attention_heads": TEXT_CONFIG.num_attention_heads, "head_dim": TEXT_CONFIG.head_dim,
        "num_key_value_heads": TEXT_CONFIG.num_key_value_heads, "max_position_embeddings": context,
        "rms_norm_eps": TEXT_CONFIG.rms_norm_eps, "tie_word_embeddings": True, "eos_token_id": [1],
        "rope_theta": TEXT_CONFIG.rope.rope_theta,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tiny_tokenizer(chat_template).save(folder)
    return folder
