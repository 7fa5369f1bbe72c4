"""Models without layers: the next token depends on the last one alone, and how can be chosen freely."""

import dataclasses
import json
from functools import cache

import numpy as np
from tensors import ArrayTensor
from test_checks import CONFIG

from minillm.backends import get_backend
from minillm.loading.build import build
from minillm.loading.checkpoint import Checkpoint
from minillm.text.tokenizer import Tokenizer


@cache
def letters(count):
    """A tokenizer of this many tokens: a, b, c and so on."""
    vocab = {chr(ord("a") + token): token for token in range(count)}
    values = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "a"},
    }  # fmt: skip
    return Tokenizer(json.dumps(values).encode())


def with_letters(model, count=2):
    """The model with a tokenizer, so that a draft of another vocabulary size is known to have the same tokens."""
    return dataclasses.replace(model, stored_tokenizer=letters(count))


def bigram_model(logits, backend="numpy", **config):
    """A model whose logits after token t are row t of `logits`."""
    vocab_size = len(logits)
    config = dataclasses.replace(
        CONFIG, vocab_size=vocab_size, hidden_size=vocab_size, num_hidden_layers=0, sliding_windows=(),
        rms_norm_eps=0.0, tie_word_embeddings=False, **config,
    )  # fmt: skip
    tensors = {
        "model.embed_tokens.weight": np.eye(vocab_size),
        "model.norm.weight": np.full(vocab_size, vocab_size**-0.5),  # of a one-hot row: undone
        "lm_head.weight": np.transpose(logits),
    }
    checkpoint = Checkpoint("bigrams", config, {name: ArrayTensor(value) for name, value in tensors.items()}, None)
    return build(checkpoint, get_backend(backend), np.dtype("float64"))
