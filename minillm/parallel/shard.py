"""Share: which part of a model one rank holds, and a checkpoint cut down to that part. Only its bytes are read.

*Tensor parallelism* (Shoeybi et al., Megatron-LM, 1909.08053, section 3) cuts the matrices of every layer. Two ranks
and 4 query heads; matrices as in the file, `[out, in]`:

    q, k, v, gate, up     rows        rank 0: heads 0 and 1; the first half of the MLP     no sum is cut
    output, down          columns     rank 0: those that multiply what it computed         each has a part of a sum
    embedding, head       rows        rank 0: the first half of the vocabulary
    norms                 whole       on every rank

So a rank computes its heads and its part of the MLP alone, and one all-reduce after attention and one after the MLP add
up the parts. A rank has all KV heads that its query heads read. The cache of a rank holds its KV heads only.

Weights that are quantised in groups of 32 are cut between groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from minillm.arrays import Array, Int
from minillm.config import ModelConfig
from minillm.estimate.sharding import kv_heads_of, share_of, span_of
from minillm.loading.checkpoint import Checkpoint, StoredTensor
from minillm.loading.stored import part_of
from minillm.quantization import GROUP, Matrix
from minillm.support.wording import counted

GROUPED = ("int8", "int4")  # formats with groups


@dataclass(frozen=True)
class Share:
    """The part of one rank.

    Attributes:
        whole: the config of the model.
        heads, kv_heads: its heads, by their numbers in the model.
        inner: its columns of the MLP.
        vocab: its tokens of the vocabulary.
        vocab_sizes: the number of tokens of the vocabulary on each rank.
    """

    whole: ModelConfig
    heads: range
    kv_heads: range
    inner: range
    vocab: range
    vocab_sizes: tuple[int, ...]

    @property
    def config(self) -> ModelConfig:
        """The share as the config of a smaller model."""
        return replace(
            self.whole,
            num_attention_heads=len(self.heads),
            num_key_value_heads=len(self.kv_heads),
            intermediate_size=len(self.inner),
            vocab_size=len(self.vocab),
        )

    def even_places(self) -> tuple[Int[Array, "heads"], int] | None:
        """Return a place for each query head, such that each KV head has equally many places, and their number.

        Attention expects that. It is None if the heads are so already. A rank with heads 2, 3 and 4, where 0 to 2 read
        KV head 0 and 3 to 5 KV head 1, has places 0, 2 and 3 of four: the place 1 stays empty.
        """
        group = self.whole.num_attention_heads // self.whole.num_key_value_heads
        of = np.array([head // group for head in self.heads]) - self.kv_heads.start  # the KV head of each
        counts = np.bincount(of, minlength=len(self.kv_heads))
        if (counts == counts[0]).all():
            return None
        within = np.concatenate([np.arange(count) for count in counts])
        return of * counts.max() + within, int(counts.max()) * len(counts)


def share_of_rank(config: ModelConfig, ranks: int, rank: int, grouped: bool = False) -> Share:
    """Return the part of one rank. With `grouped`, heads and columns are cut between groups of 32 weights.

    Raises:
        ValueError: a rank would have no head, no column or no token.
    """
    per_unit = GROUP // gcd(GROUP, config.head_dim) if grouped else 1  # heads that fill whole groups
    heads = _span("query heads", config.num_attention_heads, per_unit, ranks, rank)
    inner = _span("columns of the MLP", config.intermediate_size, GROUP if grouped else 1, ranks, rank)
    _span("tokens of the vocabulary", config.vocab_size, 1, ranks, rank)
    vocab = [span_of(config.vocab_size, ranks, other) for other in range(ranks)]
    return Share(config, heads, kv_heads_of(config, heads), inner, vocab[rank], tuple(map(len, vocab)))


def _span(what: str, count: int, per_unit: int, ranks: int, rank: int) -> range:
    units = share_of(count, per_unit)
    if units < ranks:
        together = f", which are cut by {per_unit}" if per_unit > 1 else ""
        most = counted(units, "rank")
        raise ValueError(f"{ranks} ranks cannot share the model's {count} {what}{together}; use at most {most}")
    span = span_of(units, ranks, rank)
    return range(span.start * per_unit, min(span.stop * per_unit, count))


def is_grouped(checkpoint: Checkpoint, weights: str) -> bool:
    """Return whether matrices in this format have groups of 32 weights."""
    stored = {tensor.format for tensor in checkpoint.tensors.values()} if weights == "stored" else {weights}
    return not stored.isdisjoint(GROUPED)


def cut(checkpoint: Checkpoint, share: Share) -> Checkpoint:
    """Return the checkpoint of a smaller model, this rank's share. Nothing is read.

    Raises:
        ValueError: a tensor has the wrong shape.
    """
    tensors = {name: _cut_tensor(checkpoint, name, share) for name in checkpoint.tensors}
    return replace(checkpoint, config=share.config, tensors=tensors)


def _cut_tensor(checkpoint: Checkpoint, name: str, share: Share) -> StoredTensor:
    tensor, part = checkpoint.tensors[name], part_of(name)
    module, _, kind = part.rpartition(".")
    parts = _parts(share)
    if module not in parts or (kind == "bias" and parts[module][1] is not None):
        return tensor  # a norm; or the bias of a matrix that is cut by columns: every rank adds it once, after the sum
    rows, columns = parts[module]
    sizes = _shape(share.whole, module)
    expected = sizes if kind == "weight" else sizes[:1]
    if tuple(tensor.shape) != expected:
        wrong = f"{list(tensor.shape)}; the config requires {list(expected)}"
        raise ValueError(f"{checkpoint.name}: tensor {name} has shape {wrong}")
    if kind == "bias":
        return PartOfVector(tensor, rows or range(sizes[0]))
    return tensor.cut(rows or range(sizes[0]), columns or range(sizes[1]))


def _parts(share: Share) -> Mapping[str, tuple[range | None, range | None]]:
    """Return the rows and the columns of each matrix `[out, in]` that this rank has; None for all, `hidden_size`."""
    d = share.whole.head_dim
    heads, kv_heads = (range(span.start * d, span.stop * d) for span in (share.heads, share.kv_heads))
    return {
        "self_attn.q_proj": (heads, None),
        "self_attn.k_proj": (kv_heads, None),
        "self_attn.v_proj": (kv_heads, None),
        "self_attn.o_proj": (None, heads),
        "mlp.gate_proj": (share.inner, None),
        "mlp.up_proj": (share.inner, None),
        "mlp.down_proj": (None, share.inner),
        "model.embed_tokens": (share.vocab, None),
        "lm_head": (share.vocab, None),
    }


def _shape(config: ModelConfig, module: str) -> tuple[int, int]:
    """Return the shape of a whole matrix: the part that one rank alone would have."""
    rows, columns = _parts(share_of_rank(config, 1, 0))[module]
    return len(rows or range(config.hidden_size)), len(columns or range(config.hidden_size))


@dataclass(frozen=True)
class PartOfVector:
    """Some numbers of a bias."""

    tensor: StoredTensor
    rows: range
    format, rows_together = "float32", 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Return their number."""
        return (len(self.rows),)

    def read(self) -> Array:
        """Return the numbers."""
        return self.tensor.read()[self.rows.start : self.rows.stop]

    def stored(self) -> Matrix:
        """Return the numbers."""
        return self.read()

    def cut(self, rows: range, columns: range) -> StoredTensor:
        """Raise TypeError: a vector has no columns."""
        raise TypeError("a vector has no columns")
