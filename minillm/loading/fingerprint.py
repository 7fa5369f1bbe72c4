"""fingerprint: a hash that tells models apart. Of a large model it reads a part of the weights.

    embedding and head          read whole: fine-tuning may change the rows of a few added tokens only
    norms and biases            read whole
    every other matrix          read whole in a small model; else 8 places, at equal distances

Reading all weights of a large model takes minutes. Training that changes a matrix changes nearly every number of it, so
its places differ too.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from math import prod

from minillm.loading.checkpoint import Checkpoint, StoredTensor
from minillm.loading.stored import EMBEDDING_AND_HEAD, in_tiles, part_of
from minillm.text.tokenizer import Tokenizer

PERMUTED = ("self_attn.q_proj.weight", "self_attn.k_proj.weight")  # rows in a GGUF file are reordered in each head
PLACES = 8
COLUMNS = 32  # of a whole head
SMALL = 50_000_000  # numbers of a model, 200 MB in float32


def fingerprint(checkpoint: Checkpoint) -> str:
    """Return a hash of the config, the tokenizer, and each tensor: its name, shape, format, and numbers or places.

    A place is a row, or some columns of a head. Two large models that differ only between the places of a matrix have
    the same fingerprint.

    Raises:
        ValueError: the contents of a file are invalid.
    """
    digest = hashlib.sha256(repr((asdict(checkpoint.config), _facts(checkpoint.tokenizer))).encode())
    is_small = sum(prod(tensor.shape) for tensor in checkpoint.tensors.values()) <= SMALL
    for name, tensor in sorted(checkpoint.tensors.items()):
        digest.update(repr((name, tuple(tensor.shape), tensor.format)).encode())
        head_dim = checkpoint.config.head_dim if part_of(name) in PERMUTED else 1
        for part in _parts(name, tensor, is_small, head_dim):
            digest.update(part.read().tobytes())
    return digest.hexdigest()[:16]


def _facts(tokenizer: Tokenizer | None) -> object:
    if tokenizer is None:
        return None
    named, special = sorted(tokenizer.named_tokens.items()), sorted(tokenizer.special_tokens.items())
    return tokenizer.chat_template, named, tokenizer.ends, special, sorted(tokenizer.vocabulary.items())


def _parts(name: str, tensor: StoredTensor, is_small: bool, rows_each: int) -> Iterable[StoredTensor]:
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        return [tensor]
    if name in EMBEDDING_AND_HEAD:
        return in_tiles(tensor)  # as a whole it would take much memory
    return [tensor] if is_small else _places(tensor, rows_each)


def _places(tensor: StoredTensor, rows_each: int) -> Iterator[StoredTensor]:
    rows, columns = tensor.shape
    last = rows // rows_each - 1
    for place in sorted({last * number // (PLACES - 1) for number in range(PLACES)}):
        part = range(place * rows_each, (place + 1) * rows_each)
        yield tensor.cut(part, range(columns if rows_each == 1 else min(COLUMNS, columns)))
