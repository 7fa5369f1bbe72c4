"""fingerprint: a hash that tells models apart, from a small part of their weights.

Reading all weights of a large model takes minutes. Training changes nearly every number, so a few rows of each matrix
differ too.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict

from minillm.arrays import Array
from minillm.loading.checkpoint import Checkpoint, StoredTensor
from minillm.loading.stored import part_of
from minillm.text.tokenizer import Tokenizer

PERMUTED = ("self_attn.q_proj.weight", "self_attn.k_proj.weight")  # rows in a GGUF file are reordered in each head
COLUMNS = 32  # of a whole head


def fingerprint(checkpoint: Checkpoint) -> str:
    """Return a hash of the config, of the tokenizer, and of each tensor: its name, shape, format and three places.

    A place is a row at the beginning, in the middle and at the end, or some columns of a head. Norms and biases are
    read whole. Two models with other numbers elsewhere only have the same fingerprint.

    Raises:
        ValueError: the contents of a file are invalid.
    """
    digest = hashlib.sha256(repr((asdict(checkpoint.config), _facts(checkpoint.tokenizer))).encode())
    for name, tensor in sorted(checkpoint.tensors.items()):
        digest.update(repr((name, tuple(tensor.shape), tensor.format)).encode())
        head_dim = checkpoint.config.head_dim if part_of(name) in PERMUTED else 1
        for place in _places(tensor, head_dim):
            digest.update(place.tobytes())
    return digest.hexdigest()[:16]


def _facts(tokenizer: Tokenizer | None) -> object:
    if tokenizer is None:
        return None
    named, special = sorted(tokenizer.named_tokens.items()), sorted(tokenizer.special_tokens.items())
    return tokenizer.chat_template, named, tokenizer.ends, special, sorted(tokenizer.vocabulary.items())


def _places(tensor: StoredTensor, rows_each: int) -> Iterator[Array]:
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        yield tensor.read()
        return
    rows, columns = tensor.shape
    last = rows // rows_each - 1
    for place in sorted({0, last // 2, last}):
        part = range(place * rows_each, (place + 1) * rows_each)
        yield tensor.cut(part, range(columns if rows_each == 1 else min(COLUMNS, columns))).read()
